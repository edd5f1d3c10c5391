"""Samples from a real spool to a real relay: counted once, whatever is killed in between; shown to whoever may see."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.journal import FileJournal
from agent.membership import DeviceKeys, Membership
from agent.sample_spool import MAX_WAITING
from agent.sampler import Circumstances, Sampler
from agent.spool import Spool
from protocol.api import SampleSeries
from protocol.codec import encode
from protocol.errors import PeerFault, Refused
from protocol.ids import DeviceId, TokenId
from protocol.link import SamplesAck, SamplesSent
from protocol.samples import METRICS, Sample, SampleBatch, columns_of, open_samples
from protocol.sections.connectivity import Connectivity
from protocol.signing import KeyRawSigner
from protocol.statement import REPORT, Signed, seal_statement
from relay import rollup
from relay.samples import expire
from relay.store import samples as rows
from tests.support.organisation import Organisation
from tests.support.relay_world import FakeDevice, FakeLink, World, relay_world
from tests.support.samples_kept import SetClock, counted, raw_instants
from tests.support.store_world import A, B, fresh_store

DAY_S = 86_400
ROOMY = "[limits]\nrequests_per_s = 1000.0\nrequest_burst = 100000.0\n"


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with relay_world(ROOMY) as made:
        yield made


class Device:
    """The agent's own Sampler on a spool of its own, with a clock that is set and a link that is there or not."""

    def __init__(self, fake: FakeDevice, folder: Path, at: float, most: int = MAX_WAITING) -> None:
        self.fake = fake
        self.folder = folder
        self.most = most
        self.clock = SetClock(at)
        self.link: FakeLink | None = None
        self.sent: list[Signed] = []
        self.begin()

    def begin(self) -> None:
        """As a process that starts: only what the disk holds is known."""
        self.spool = Spool(self.folder / "spool.sqlite")
        membership = Membership(
            organisation=self.fake.world.organisation.id,
            device=self.fake.id,
            sealing_key="",
            token=TokenId(""),
            relays=(),
            machine="",
            joined_at=0,
        )
        self.sampler = Sampler(
            self.spool,
            membership=membership,
            keys=DeviceKeys(signer=KeyRawSigner(self.fake.key), sealing_identity="", sealing_key=""),
            clock=self.clock,
            now=self.clock.now,
            send=self._send,
            journal=FileJournal(self.folder / "journal.jsonl", self.clock.now),
            circumstances=lambda: Circumstances(latency_ms=12.34, ladder=Connectivity(loss_percent=10.0)),
            most=self.most,
        )

    def _send(self, message: SamplesSent) -> None:
        self.sent.append(message.samples)
        if self.link is not None:
            self.link.send(message)

    def up(self, link: FakeLink) -> None:
        assert link.welcome is not None
        self.link = link
        self.sampler.link_up(link.welcome.samples)

    async def live(self, seconds: float) -> list[int]:
        """Let so much time pass, a sample a minute; return their instants."""
        instants = []
        for _ in range(int(seconds // 60)):
            instants.append(int(self.clock.now()))
            await self.sampler.tick()
            self.clock.advance(60)
        return instants

    async def deliver(self) -> int:
        """Take acknowledgements until nothing is under way; how many there were."""
        assert self.link is not None
        count = 0
        while len(self.sent) > count:
            self.sampler.on_ack(await self.link.next(SamplesAck))
            count += 1
            await self.sampler.tick()
        self.sent.clear()
        return count

    def kill(self) -> None:
        """As -9 does: what is in memory is gone."""
        self.spool.close()
        self.link, self.sent = None, []


async def make(world: World, folder: Path, at: float, **bounds: int) -> Device:
    return Device(await world.device("clinic"), folder, at, **bounds)


async def test_a_day_with_the_relay_away_is_kept_and_arrives_once(world: World, tmp_path: Path) -> None:
    device = await make(world, tmp_path, time.time() - DAY_S)
    taken = await device.live(DAY_S - 60)
    assert device.sent == [] and device.spool.status().bytes < 300_000
    async with device.fake.linked() as link:
        device.up(link)
        await device.sampler.tick()
        assert await device.deliver() == 6
    database = world.relay.database
    assert raw_instants(database, device.fake.id) == [*taken, taken[-1] + 60]
    assert counted(database, device.fake.id, 300) == counted(database, device.fake.id, 3600) == len(taken) + 1
    assert device.spool.status().samples == 0


async def test_where_a_day_is_too_much_the_oldest_samples_are_thinned_and_the_rest_arrives_once(
    world: World, tmp_path: Path
) -> None:
    device = await make(world, tmp_path, time.time() - DAY_S, most=400)
    taken = await device.live(DAY_S - 60)
    assert 200 < device.spool.status().samples <= 400
    async with device.fake.linked() as link:
        device.up(link)
        await device.sampler.tick()
        await device.deliver()
    arrived = raw_instants(world.relay.database, device.fake.id)
    assert len(arrived) <= 401 and arrived[0] == taken[0] and arrived[-100:-1] == taken[-99:]
    gaps = [later - earlier for earlier, later in pairwise(arrived)]
    assert max(gaps) == gaps[0] > 60 and all(earlier >= later for earlier, later in pairwise(gaps))
    assert counted(world.relay.database, device.fake.id, 300) == len(arrived)


async def test_a_batch_that_was_committed_and_not_acknowledged_counts_once_after_kill_9_of_both(
    world: World, tmp_path: Path
) -> None:
    device = await make(world, tmp_path, time.time() - 7200)
    database = world.relay.database
    taken = await device.live(3600)
    async with device.fake.linked() as link:
        device.up(link)
        await device.sampler.tick()
        (first,) = device.sent
        await link.next(SamplesAck)  # committed; the device is killed before it heard
        device.kill()
        await world.relay.kill()
    await world.relay.start()
    device.begin()
    async with device.fake.linked() as link:
        assert link.welcome is not None and link.welcome.samples == 1
        link.send(SamplesSent(samples=first))  # from a device that was set back: the same again
        assert (await link.next(SamplesAck)).number == 1
        device.up(link)
        await device.sampler.tick()
        assert device.spool.status().samples + len(device.sampler._unkept) == 1
    committed = [*taken, taken[-1] + 60]
    assert raw_instants(database, device.fake.id) == committed
    assert counted(database, device.fake.id, 300) == counted(database, device.fake.id, 3600) == len(committed)


async def test_a_batch_that_was_sent_and_not_committed_is_sent_again_the_very_same(
    world: World, tmp_path: Path
) -> None:
    device = await make(world, tmp_path, time.time() - 7200)
    taken = await device.live(1200)
    device.sampler.link_up(0)  # a link that loses everything
    await device.sampler.tick()
    (lost,) = device.sent
    device.kill()
    device.begin()
    async with device.fake.linked() as link:
        device.up(link)
        await device.sampler.tick()
        assert device.sent == [lost]
        assert await device.deliver() == 1
    assert raw_instants(world.relay.database, device.fake.id) == [*taken, taken[-1] + 60]


async def test_an_agent_that_is_started_again_within_a_second_measures_that_second_once(
    world: World, tmp_path: Path
) -> None:
    device = await make(world, tmp_path, time.time() - 7200)
    taken = await device.live(1200)
    device.sampler._keep()  # as at its end
    device.kill()
    device.clock.advance(-60)
    device.begin()
    again = await device.live(1200)
    assert again[0] == taken[-1]
    async with device.fake.linked() as link:
        device.up(link)
        await device.sampler.tick()
        await device.deliver()
    assert raw_instants(world.relay.database, device.fake.id) == [*taken, *again[1:], again[-1] + 60]


async def test_a_device_that_lost_its_spool_goes_on_above_the_relays_last_number(world: World, tmp_path: Path) -> None:
    device = await make(world, tmp_path, time.time() - 7200)
    async with device.fake.linked() as link:
        device.up(link)
        before = await device.live(1200)
        await device.deliver()
        kept = raw_instants(world.relay.database, device.fake.id)
        assert kept == before[: len(kept)] and len(kept) >= 15
        device.kill()
        (tmp_path / "spool.sqlite").unlink()
        device.begin()
        async with device.fake.linked() as again:
            device.up(again)
            after = await device.live(1200)
            await device.deliver()
    known = raw_instants(world.relay.database, device.fake.id)
    assert known[: len(kept)] == kept and len(known) >= len(kept) + 15
    assert set(known) <= {*before, *after} and len(set(known)) == len(known)


# -- what a relay refuses --------------------------------------------------------------------------------------------


def batch(fake: FakeDevice, number: int, samples: list[Sample], **changes: Any) -> Signed:
    fields: dict[str, Any] = {
        "organisation": fake.world.organisation.id,
        "device": fake.id,
        "number": number,
        "at": tuple(sample.at for sample in samples),
        "values": columns_of(samples),
    }
    return seal_statement(fake.signer, REPORT, encode(SampleBatch(**{**fields, **changes})))


def some(count: int, at: float, step: int = 60, **values: float) -> list[Sample]:
    return [Sample(int(at) + step * i, values or {"memory_percent": 50.0}) for i in range(count)]


@pytest.mark.parametrize("what", ["another's", "another organisation's", "forged", "no batch", "impossible"])
async def test_what_is_no_batch_of_this_device_ends_the_link_with_a_reason_of_its_own(world: World, what: str) -> None:
    device, other = await world.device("clinic"), await world.device("clinic")
    good = some(3, time.time() - 600)
    bad = {
        "another's": batch(other, 1, good),
        "another organisation's": batch(device, 1, good, organisation="b" * 52),
        "forged": Signed(payload=batch(device, 1, good).payload, signature=batch(other, 1, good).signature),
        "no batch": device.report(1, {}),
        "impossible": batch(device, 1, good, values={"cpu_percent": (1.0, 1.0, 1e9)}),
    }[what]
    async with device.linked() as link:
        link.send(SamplesSent(samples=bad))
        assert (await link.goodbye()).reason == "samples_refused"
    assert raw_instants(world.relay.database, device.id) == []
    assert counted(world.relay.database, device.id, 300) == 0


async def test_a_refused_batch_is_given_up_and_does_not_stand_before_the_others(world: World, tmp_path: Path) -> None:
    device = await make(world, tmp_path, time.time() - 7200)
    await device.live(1200)
    device.sampler.link_up(0)
    await device.sampler.tick()
    assert len(device.sent) == 1 and device.sampler._spool.batches() == (1,)
    device.sampler.on_goodbye("bad_message")
    assert device.sampler._machine.under_way == 1, "a report's fault is no batch's"
    device.sampler.on_goodbye("samples_refused")
    await device.sampler.tick()
    assert device.sampler._spool.batches() == ()


async def test_samples_of_no_credible_day_are_acknowledged_and_not_kept(world: World) -> None:
    device = await world.device("clinic")
    now = time.time()
    async with device.linked() as link:
        for number, at in enumerate((0, now - 3 * 366 * DAY_S, now + 30 * DAY_S, 2**52), start=1):
            link.send(SamplesSent(samples=batch(device, number, some(3, at))))
            assert (await link.next(SamplesAck)).number == number
        link.send(SamplesSent(samples=batch(device, 5, some(3, now - 10 * DAY_S))))
        await link.next(SamplesAck)
    database = world.relay.database
    assert raw_instants(database, device.id) == []
    assert counted(database, device.id, 300) == counted(database, device.id, 3600) == 3


async def test_a_device_that_floods_keeps_no_more_than_its_share(world: World) -> None:
    device = await world.device("clinic")
    at = time.time() - DAY_S
    async with device.linked() as link:
        for number in range(1, 601):
            link.send(SamplesSent(samples=batch(device, number, some(1, at + number))))
        while (await link.next(SamplesAck)).number < 600:
            pass
    kept = raw_instants(world.relay.database, device.id)
    assert len(kept) == 512 and kept[-1] == int(at + 600)


# -- what goes -------------------------------------------------------------------------------------------------------


async def test_what_is_too_old_goes_in_small_steps_and_the_rest_stays() -> None:
    now = 1_700_000_000.0
    device = DeviceId("aaaaa-bbbbb-ccccc-ddddd")

    def put(organisation: Any, number: int, at: float) -> Any:
        samples = some(1, at)
        made = SampleBatch(
            organisation=organisation,
            device=device,
            number=number,
            at=(samples[0].at,),
            values=columns_of(samples),
        )
        return lambda c: rows.commit_batch(c, organisation, device, made, Signed(payload=b"", signature=b""), at)

    async with fresh_store() as (store, _):
        old = [now - 40 * DAY_S + 60 * i for i in range(500)]
        for organisation in (A, B):
            for number, at in enumerate([*old, now - 3 * DAY_S, now - 60], start=1):
                await store.write(put(organisation, number, at))
        before = store.writer.commits
        assert await expire(store, now) > 0
        assert store.writer.commits - before > 1, "one step after the other, so that others get their turn"
        assert await expire(store, now) == 0
        for organisation in (A, B):
            job = lambda c, o=organisation: rows.read_batches(c, o, device, 0, 2**40, 1 << 20)  # noqa: E731
            assert len((await store.read(job)).signed) == 1
            for level, left in ((rollup.FIVE_MINUTES, 2), (rollup.HOUR, 502)):
                total = await store.read(lambda c, o=organisation, lv=level: total_of(c, o, device, lv))
                assert total == left


def total_of(connection: Any, organisation: Any, device: DeviceId, level: rollup.Level) -> int:
    buckets = rows.read_buckets(connection, organisation, device, level, 0, 2**40)
    return sum(cells["memory_percent"].count for _, cells in buckets)


# -- what is shown ---------------------------------------------------------------------------------------------------


async def series(client: Any, device: DeviceId, **query: Any) -> SampleSeries:
    answer: SampleSeries = await client.request(
        "GET", f"/v1/devices/{device}/samples", SampleSeries, query=query, limit=8 << 20
    )
    return answer


async def test_the_last_two_days_are_the_devices_own_word_and_before_that_the_relays(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician(scope="tag:clinic")
    now = int(time.time())
    async with device.linked() as link:
        for number, at in enumerate((now - 40 * DAY_S, now - 10 * DAY_S, now - 3600), start=1):
            link.send(SamplesSent(samples=batch(device, number, some(10, at, cpu_percent=10.0 * number))))
            await link.next(SamplesAck)
    recent = await series(client, device.id)
    assert recent.step_s == 0 and len(recent.batches) == 1 and not recent.buckets
    line = Organisation.line(device.key)
    verified = open_samples(recent.batches[0], organisation=world.organisation.id, device=device.id, device_key=line)
    assert [sample.values for sample in verified.samples()] == [{"cpu_percent": 30.0}] * 10
    weeks = await series(client, device.id, since=now - 20 * DAY_S)
    assert weeks.step_s == 300 and not weeks.batches
    assert sum(bucket.values["cpu_percent"][0] for bucket in weeks.buckets) == 20
    year = await series(client, device.id, since=now - 300 * DAY_S)
    assert year.step_s == 3600
    assert {bucket.values["cpu_percent"][1:] for bucket in year.buckets} == {
        (10.0, 10.0, 10.0),
        (20.0, 20.0, 20.0),
        (30.0, 30.0, 30.0),
    }
    only = await series(client, device.id, since=now - 300 * DAY_S, until=now - 30 * DAY_S)
    assert {bucket.values["cpu_percent"][1] for bucket in only.buckets} == {10.0}
    assert (await series(client, device.id, since=now - DAY_S, step=300)).step_s == 300
    for query in ({"step": 60}, {"since": now, "until": now - 1}, {"since": "x"}):
        with pytest.raises((PeerFault, Refused)):
            await series(client, device.id, **query)


async def test_the_same_comes_as_csv_a_line_for_each_sample_or_bucket(world: World) -> None:
    device = await world.device("clinic")
    _, client = await world.technician()
    now = int(time.time())
    async with device.linked() as link:
        link.send(SamplesSent(samples=batch(device, 1, some(5, now - 600, cpu_percent=12.5, signal_dbm=-71.0))))
        await link.next(SamplesAck)
    raw = await csv(client, device.id, "")
    assert raw[0] == ["at", *METRICS] and len(raw) == 6
    assert raw[1] == [str(now - 600), "12.5", "", "", "-71.0", "", ""]
    rolled = await csv(client, device.id, f"?step=3600&since={now - 7200}")
    assert rolled[0][:4] == ["at", "cpu_percent", "cpu_percent_least", "cpu_percent_most"]
    assert all(len(row) == len(rolled[0]) for row in rolled) and rolled[1][1:4] == ["12.5", "12.5", "12.5"]


async def csv(client: Any, device: DeviceId, query: str) -> list[list[str]]:
    async with client.exchange("GET", f"/v1/devices/{device}/samples.csv{query}") as answer:
        body = await answer.read(1 << 20)
    return [line.split(",") for line in body.decode().splitlines()]


async def test_what_is_out_of_scope_has_no_samples(world: World) -> None:
    device = await world.device("kiosk")
    _, client = await world.technician(scope="tag:clinic")
    for path in ("samples", "samples.csv"):
        with pytest.raises(Refused) as refused:
            await client.request("GET", f"/v1/devices/{device.id}/{path}", None)
        assert refused.value.reason == "not_found"


async def test_the_document_of_the_api_says_what_a_series_is(world: World) -> None:
    told = await world.stranger.request("GET", "/v1/openapi.json", dict, limit=1 << 20)
    operation = told["paths"]["/v1/devices/{device}/samples"]["get"]
    assert {parameter["name"] for parameter in operation["parameters"]} == {"device", "since", "until", "step"}
    assert "SampleSeries" in json.dumps(operation["responses"]["200"])
    assert "/v1/devices/{device}/samples.csv" in told["paths"]
