"""What it costs that a session outlives its connection, and how fast it does.

- `stream`: legs through our relay, both ends in this process, with the resumable stream on them and without: the same
  messages, in turns. Without SSH, of which both would have the same.
- `stalled reader`: a command on the device sends 1 GiB to a client that takes nothing; how much more memory everything
  in between holds while it stands still, and that all of it arrives afterwards.
- `recovery`: a console's connection is reset while somebody types; from there until the next key is back.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from protocol.stream import MAX_DATA_BYTES, WINDOW_BYTES
from tests.bench.keys import Terminal
from tests.bench.ours import Stock
from tests.bench.processes import WITHIN_S, end, memory, settle
from tests.bench.rows import Row, ours_at_most, pair, percentile, ratio_at_least, ratio_at_most
from tests.bench.settings import MIB, Settings
from tests.bench.through import Through
from tests.bench.ways import NotAvailable, Way, check, settled, start
from tests.support.agent_process import wait_until
from tests.support.relay_world import FakeLink, World, relay_world
from transport.leg import Leg
from transport.leg_dial import dial_leg
from transport.websocket import Connection

NAME = "survival"
RAW = "the same legs without the stream"
BLOCK = os.urandom(MAX_DATA_BYTES)
STANDS_STILL_S = 1.0


def measure(ours: Stock, peer: Way, settings: Settings) -> list[Row]:
    return [
        *uvloop.run(_streams(settings)),
        *_stalled(ours, peer, settings),
        _recovery(ours, settings),
    ]


# -- the stream -----------------------------------------------------------------------------------------------------


class _Taker(asyncio.Protocol):
    """Counts what comes, and sends back what is short: a key."""

    def __init__(self, *, echoes: bool) -> None:
        self._echoes = echoes
        self.got = 0
        self.news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += len(data)
        self.news.set()
        if self._echoes and len(data) == 1:
            self._transport.write(data)


class _Streamed:
    """A pair of legs with the stream on them."""

    def __init__(self, near: Leg, far: Leg) -> None:
        self._near, self._far = near, far

    async def begin(self) -> None:
        self._transport, self._back = await self._near.create_connection(lambda: _Taker(echoes=False))
        _, self._taker = await self._far.create_connection(lambda: _Taker(echoes=True))

    async def move(self, count: int) -> None:
        due = self._taker.got + count * len(BLOCK)
        for _ in range(count):
            await self._near.writable()
            self._transport.write(BLOCK)
        await _until(self._taker, due)

    async def press(self) -> None:
        due = self._back.got + 1
        self._transport.write(b"k")
        await _until(self._back, due)


async def _until(taker: _Taker, due: int) -> None:
    while taker.got < due:
        taker.news.clear()
        await taker.news.wait()


class _Raw:
    """The same pair without."""

    def __init__(self, near: Connection, far: Connection) -> None:
        self._near, self._far = near, far
        self._got, self._back, self._news = 0, 0, asyncio.Event()

    async def begin(self) -> None:
        self._near.listen(self._answered)
        self._far.listen(self._taken)

    def _answered(self, message: bytes | str) -> None:
        self._back += len(message)
        self._news.set()

    def _taken(self, message: bytes | str) -> None:
        self._got += len(message)
        self._news.set()
        if len(message) == 1:
            self._far.send_binary(b"k")

    async def move(self, count: int) -> None:
        due = self._got + count * len(BLOCK)
        for _ in range(count):
            await self._near.writable()
            self._near.send_binary(BLOCK)
        while self._got < due:
            self._news.clear()
            await self._news.wait()

    async def press(self) -> None:
        due = self._back + 1
        self._near.send_binary(b"k")
        while self._back < due:
            self._news.clear()
            await self._news.wait()


async def _streams(settings: Settings) -> list[Row]:
    count = max(1, settings.size // len(BLOCK))
    async with relay_world() as world:
        device = await world.device("lab")
        async with device.linked() as link, _joined(world, link) as one, _joined(world, link) as other:
            streamed, raw = _Streamed(Leg(one[0]), Leg(one[1])), _Raw(*other)
            ways: tuple[_Streamed | _Raw, ...] = (streamed, raw)
            rates: dict[object, list[float]] = {streamed: [], raw: []}
            keys: dict[object, list[float]] = {streamed: [], raw: []}
            for way in ways:
                await way.begin()
                await way.move(min(count, 64))
            for turn in range(2 * settings.rounds):
                for way in ways if turn % 2 else reversed(ways):
                    began = time.perf_counter()
                    await way.move(count)
                    rates[way].append(count * len(BLOCK) / 1e6 / (time.perf_counter() - began))
            for _ in range(settings.keys):
                for way in ways:
                    began = time.perf_counter()
                    await way.press()
                    keys[way].append(1000 * (time.perf_counter() - began))
    typed = [percentile(keys[way], 50) for way in ways]
    return [
        pair("stream: bulk", "MB/s", rates[streamed], rates[raw], ratio_at_least(0.95), beside=RAW),
        Row("stream: keystroke p50", "ms", typed[0], typed[1], ratio_at_most(1.05), beside=RAW),
    ]


@asynccontextmanager
async def _joined(world: World, link: FakeLink) -> AsyncIterator[tuple[Connection, Connection]]:
    """The connections of a session's two legs."""
    technician, client = await world.technician()
    started = await world.start_session(technician, client, link.device.id)
    offer = await link.offer()
    legs = await asyncio.gather(
        *(dial_leg(world.address, started.session, ticket) for ticket in (started.ticket, offer.ticket))
    )
    try:
        yield legs[0], legs[1]
    finally:
        for leg in legs:
            leg.close()


# -- a reader that stalls -------------------------------------------------------------------------------------------


def _stalled(ours: Stock, peer: Way, settings: Settings) -> list[Row]:
    held = {way: _held(way, settings.stalled_mib * MIB) for way in (peer, ours)}
    more = {f"{side}_parts": held[way] for side, way in (("ours", ours), ("peer", peer))}
    size = f"{settings.stalled_mib} MiB are sent"
    window = WINDOW_BYTES / MIB
    return [
        Row(
            f"stalled reader: {part} holds", "MiB", held[ours][part], held[peer][part],
            ours_at_most(bound), f"{size}, the window is {window:g} MiB", more=more,
        )
        for part, bound in (("relay", 2 * window), ("device", 4 * window))
    ]  # fmt: skip


def _held(way: Way, size: int) -> dict[str, float]:
    """MiB that were not in memory before, by part, while the client takes nothing."""
    settled(way)
    client = start(way, f"read go; exec head -c {size} /dev/zero")
    assert client.stdin is not None
    try:
        wait_until(lambda: way.parts(client.pid)["session"] or client.poll(), "the session is open", WITHIN_S)
        _stand_still(way, client)
        before = _memory(way, client)
        client.stdin.write(b"go\n")
        _stand_still(way, client)
        held = {part: max(0.0, mib - before.get(part, 0.0)) for part, mib in _memory(way, client).items()}
        _take(way, client, size)
    finally:
        end(client)
    return {**held, "device": held["link"] + held["session"]}


def _stand_still(way: Way, client: subprocess.Popen[bytes]) -> None:
    settle(lambda: [pid for pids in way.parts(client.pid).values() for pid in pids], STANDS_STILL_S)


def _memory(way: Way, client: subprocess.Popen[bytes]) -> dict[str, float]:
    return {part: memory(pids).pss / 1024 for part, pids in way.parts(client.pid).items()}


def _take(way: Way, client: subprocess.Popen[bytes], size: int) -> None:
    """Read all of it. Raises NotAvailable where the client fails or it is not all."""
    assert client.stdout is not None and client.stderr is not None
    got = 0
    while data := client.stdout.read(MIB):
        got += len(data)
    check(way, client.wait(), client.stderr.read())
    if got != size:
        raise NotAvailable(f"{way.name}: {got} bytes of {size} came")


# -- recovery -------------------------------------------------------------------------------------------------------


def _recovery(ours: Stock, settings: Settings) -> Row:
    settled(ours)
    seconds: list[float] = []
    with Through() as through:
        ours.world.technician("cut")
        terminal = Terminal(Stock(ours.world.login("cut", "--proxy", through.url)))
        try:
            for _ in range(settings.opens):
                terminal.press(10)
                terminal.seconds.clear()
                through.cut()
                terminal.press(1)
                seconds += terminal.seconds
        finally:
            terminal.close()
    return pair("recovery: from the loss of a leg to the next key", "s", seconds, (), ours_at_most(1.2))
