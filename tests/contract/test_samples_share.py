"""What one device may have of samples at a relay: a share in bytes, each instant once, and what its release knows."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from protocol.codec import encode
from protocol.link import SamplesAck, SamplesSent
from protocol.statement import Signed
from relay import rollup
from relay.store import samples as rows
from tests.contract.test_samples_at_a_relay import DAY_S, batch, some, world
from tests.support.relay_world import FakeDevice, World
from tests.support.samples_kept import counted, raw_instants

__all__ = ["world"]


def large(fake: FakeDevice, number: int, until: float) -> Signed:
    """As long as a batch may be, of metrics that nobody knows."""
    at = tuple(int(until) - 255 + n for n in range(256))
    columns = {f"m{metric}": (1.2345678,) * 256 for metric in range(11)}
    return batch(fake, number, [], at=at, values={**columns, "cpu_percent": (50.0,) * 256})


async def test_a_device_has_two_mebibytes_of_raw_samples_and_is_refused_more_until_some_are_old(world: World) -> None:
    device, other = await world.device("clinic"), await world.device("clinic")
    at, number = time.time() - DAY_S, 0
    size = len(encode(large(device, 1, at)))
    assert size > 40_000
    fits = rows.MAX_RAW_BYTES // size
    async with device.linked() as link:
        for number in range(1, fits + 1):
            link.send(SamplesSent(samples=large(device, number, at + 300 * number)))
            assert (await link.next(SamplesAck)).number == number
        link.send(SamplesSent(samples=large(device, fits + 1, at + 300 * (fits + 1))))
        assert (await link.goodbye()).reason == "samples_refused", "what an agent gives up, and goes on"
    async with device.linked() as link:
        assert link.welcome is not None and link.welcome.samples == fits
        link.send(SamplesSent(samples=batch(device, fits + 2, some(1, at + 90_000 - 5000))))
        assert (await link.next(SamplesAck)).number == fits + 2, "a batch that is small still fits"
    async with other.linked() as link:
        link.send(SamplesSent(samples=large(other, 1, at)))
        assert (await link.next(SamplesAck)).number == 1
    with closing(sqlite3.connect(world.relay.database)) as connection:
        connection.execute("UPDATE sample_batches SET until_at = until_at - ?", (2 * DAY_S,))
        connection.commit()
    async with device.linked() as link:
        link.send(SamplesSent(samples=large(device, fits + 3, at + 300 * (fits + 3))))
        assert (await link.next(SamplesAck)).number == fits + 3, "those of two days ago do not count"


async def test_metrics_that_nobody_knows_are_in_no_roll_up(world: World) -> None:
    device = await world.device("clinic")
    async with device.linked() as link:
        link.send(SamplesSent(samples=large(device, 1, time.time() - 600)))
        await link.next(SamplesAck)
    with closing(sqlite3.connect(world.relay.database)) as connection:
        chunks = [rollup.read_chunk(data) for (data,) in connection.execute("SELECT data FROM sample_rollups")]
    assert {name for chunk in chunks for cells in chunk.values() for name in cells} == {"cpu_percent"}


async def test_the_same_instants_under_new_numbers_are_acknowledged_and_count_once(world: World) -> None:
    device = await world.device("clinic")
    at = time.time() - 7200
    async with device.linked() as link:
        for number, begins in enumerate((at, at, at - 600, at + 60), start=1):
            link.send(SamplesSent(samples=batch(device, number, some(3, begins))))
            assert (await link.next(SamplesAck)).number == number
    database = world.relay.database
    first, last = [int(at) + 60 * n for n in range(3)], [int(at + 60) + 60 * n for n in range(3)]
    assert raw_instants(database, device.id) == [*first, *last]
    assert counted(database, device.id, 300) == 6


async def test_a_device_whose_clock_was_ahead_for_hours_is_heard_again_once_it_is_right(world: World) -> None:
    device = await world.device("clinic")
    now = time.time()
    async with device.linked() as link:
        for number, at in enumerate((now + 7200, now - 600), start=1):
            link.send(SamplesSent(samples=batch(device, number, some(3, at))))
            await link.next(SamplesAck)
    assert len(raw_instants(world.relay.database, device.id)) == 6
