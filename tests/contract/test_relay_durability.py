"""Kill -9 at any moment: what the relay acknowledged is there afterwards, once; the rest can be sent again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3

import msgspec
import pytest

from protocol.api import Device, Published, PublishPolicy
from protocol.charter import PolicyBase
from protocol.errors import AuxilioError, Refused
from protocol.ids import sha256
from protocol.link import PolicyNumber, ReportAck, ReportSent
from protocol.policy import Relay
from protocol.signing import KeySigner
from protocol.statement import POLICY, Signed, seal_statement
from tests.support.organisation import Organisation, new_key
from tests.support.relay_process import RelayProcess
from tests.support.relay_world import FakeDevice, relay_world, sections, until
from transport.blobs import put_blob

MANY = "[store]\nreports_kept = 5000\n\n[limits]\nrequests_per_s = 1000.0\nrequest_burst = 100000.0\n"
KILLS = 4
DEVICES = 3


async def _stream(
    device: FakeDevice, acknowledged: dict[int, str], sent: dict[int, Signed], go_on: asyncio.Event
) -> None:
    """Report without end, each one new, coming back after every cut; the next number follows the relay's last."""
    luck = random.Random(device.id)
    while go_on.is_set():
        with contextlib.suppress(AuxilioError, AssertionError):
            async with device.linked(nonces=0) as link:
                assert link.welcome is not None
                # Nothing that was acknowledged before may be unknown to the relay now.
                assert_kept = max(acknowledged, default=0)
                if link.welcome.report < assert_kept:
                    acknowledged[-1] = f"welcome says {link.welcome.report}, {assert_kept} was acknowledged"
                    return
                number = link.welcome.report
                while go_on.is_set():
                    number += 1
                    made = {"memory": sections(ram=luck.randrange(1 << 40))["memory"]}
                    if number not in sent:
                        sent[number] = device.report(number, made)
                        device.kept[number] = made  # type: ignore[attr-defined]
                    await _send(link, sent[number], device.kept[number])  # type: ignore[attr-defined]
                    acknowledged[number] = sha256(sent[number].payload)
        await asyncio.sleep(0.05)


async def _send(link, signed: Signed, made: dict[str, bytes]) -> None:
    for data in made.values():
        await put_blob(link.blobs, data)
    link.send(ReportSent(report=signed))
    await link.next(ReportAck)


async def test_no_acknowledged_report_is_lost_by_kill_9_and_none_is_there_twice() -> None:
    async with relay_world(MANY) as world:
        devices = [await world.device("clinic") for _ in range(DEVICES)]
        acknowledged: list[dict[int, str]] = [{} for _ in devices]
        sent: list[dict[int, Signed]] = [{} for _ in devices]
        go_on = asyncio.Event()
        go_on.set()
        for device in devices:
            device.kept = {}  # type: ignore[attr-defined]
        async with asyncio.TaskGroup() as tasks:
            for device, acks, all_sent in zip(devices, acknowledged, sent, strict=True):
                tasks.create_task(_stream(device, acks, all_sent, go_on))
            for _ in range(KILLS):
                before = sum(len(acks) for acks in acknowledged)
                await until(
                    lambda before=before: sum(len(acks) for acks in acknowledged) >= before + 40, "reports go through"
                )
                await world.relay.kill()
                await world.relay.start()
            before = sum(len(acks) for acks in acknowledged)
            await until(lambda: sum(len(acks) for acks in acknowledged) >= before + 20, "and go on afterwards")
            go_on.clear()
        assert not any(-1 in acks for acks in acknowledged), acknowledged
        await world.relay.kill()
        for device, acks in zip(devices, acknowledged, strict=True):
            _compare(world.relay, device, acks)
        await world.relay.start()


def _compare(relay: RelayProcess, device: FakeDevice, acknowledged: dict[int, str]) -> None:
    with contextlib.closing(sqlite3.connect(relay.database)) as connection:
        rows = connection.execute("SELECT number, sha256 FROM reports WHERE device = ?", (device.id,)).fetchall()
        kept = dict(rows)
        assert len(rows) == len(kept)
        assert acknowledged.items() <= kept.items()
        missing = connection.execute(
            """SELECT count(*) FROM report_sections s WHERE device = ? AND NOT EXISTS
               (SELECT 1 FROM blob_pieces p WHERE p.sha256 = s.sha256 AND p.organisation = s.organisation)""",
            (device.id,),
        ).fetchone()
        assert missing == (0,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_report_that_was_acknowledged_is_acknowledged_again_and_another_one_is_not() -> None:
    async with relay_world() as world:
        device = await world.device("clinic")
        made = sections("one")
        signed = device.report(1, made)
        async with device.linked() as link:
            for data in made.values():
                await put_blob(link.blobs, data)
            for _ in range(3):
                link.send(ReportSent(report=signed))
                assert (await link.next(ReportAck)).number == 1
        await world.relay.kill()
        await world.relay.start()
        async with device.linked() as link:
            assert link.welcome is not None and link.welcome.report == 1
            link.send(ReportSent(report=signed))
            assert (await link.next(ReportAck)).number == 1
            link.send(ReportSent(report=device.report(1, {})))
            assert (await link.goodbye()).reason == "number_reused"


async def test_old_reports_are_dropped_and_their_numbers_count_as_committed() -> None:
    async with relay_world("[store]\nreports_kept = 3\n") as world:
        device = await world.device("clinic")
        async with device.linked() as link:
            first = device.report(1, {})
            for number in range(1, 8):
                link.send(ReportSent(report=first if number == 1 else device.report(number, {})))
                await link.next(ReportAck)
            link.send(ReportSent(report=first))
            assert (await link.next(ReportAck)).number == 1
        await world.relay.stop()
        with contextlib.closing(sqlite3.connect(world.relay.database)) as connection:
            assert [n for (n,) in connection.execute("SELECT number FROM reports ORDER BY number")] == [5, 6, 7]
        await world.relay.start()


async def test_what_was_published_and_who_logged_in_survives_kill_9() -> None:
    async with relay_world() as world:
        organisation = world.organisation
        device = await world.device("clinic")
        _, client = await world.technician()
        expected = organisation.policy_number
        body = PublishPolicy(policy=organisation.publish_policy(max_session_s=77), expected=expected)
        path = f"/v1/organisations/{organisation.id}/policy"
        await world.stranger.request("POST", path, Published, body=body)
        await world.relay.kill()
        await world.relay.start()
        assert await world.stranger.request("GET", path, Signed) == organisation.policies[-1]
        shown = await client.request("GET", f"/v1/devices/{device.id}", Device)
        assert shown.record is not None


async def test_a_thiefs_policies_are_undone_by_the_roots_next_charter_also_after_a_restart() -> None:
    """The stolen policy key jumped to a huge number; charter 2 drops it and names the last good policy as the base."""
    async with relay_world() as world:
        organisation: Organisation = world.organisation
        path = f"/v1/organisations/{organisation.id}"

        async def publish(policy: Signed, expected) -> None:
            body = PublishPolicy(policy=policy, expected=expected)
            await world.stranger.request("POST", f"{path}/policy", Published, body=body)

        good, last_good, expected = organisation.policies[-1], organisation.last_policy, organisation.policy_number
        organisation.last_policy = msgspec.structs.replace(last_good, number=2**53 - 2)
        stolen = organisation.publish_policy(relays=(Relay(url="https://evil.example:443"),))
        await publish(stolen, expected)
        organisation.policy_key = new_key()
        charter = organisation.next_charter(policy_base=PolicyBase(number=1, sha256=sha256(good.payload)))
        await world.stranger.request("POST", f"{path}/charters", Published, body=charter)
        with pytest.raises(Refused) as exc:
            await world.stranger.request("GET", f"{path}/policy", Signed)
        assert exc.value.reason == "no_policy"  # until the new key has signed the base
        again = seal_statement(KeySigner(organisation.policy_key), POLICY, good.payload)
        await publish(again, None)
        assert await world.stranger.request("GET", f"{path}/policy", Signed) == again
        await world.relay.kill()
        await world.relay.start()
        assert await world.stranger.request("GET", f"{path}/policy", Signed) == again
        organisation.last_policy = msgspec.structs.replace(last_good, epoch=2)
        organisation.policies = [good]
        await publish(organisation.publish_policy(), PolicyNumber(epoch=2, number=1))


async def test_a_policy_that_is_signed_anew_after_a_rotation_is_the_one_that_newcomers_get() -> None:
    async with relay_world() as world:
        organisation: Organisation = world.organisation
        path = f"/v1/organisations/{organisation.id}"
        old = organisation.policies[-1]
        organisation.policy_key = new_key()
        await world.stranger.request("POST", f"{path}/charters", Published, body=organisation.next_charter())
        assert await world.stranger.request("GET", f"{path}/policy", Signed) == old
        again = seal_statement(KeySigner(organisation.policy_key), POLICY, old.payload)
        body = PublishPolicy(policy=again, expected=organisation.policy_number)
        assert (await world.stranger.request("POST", f"{path}/policy", Published, body=body)).outcome == "known"
        await world.relay.restart()
        assert await world.stranger.request("GET", f"{path}/policy", Signed) == again
