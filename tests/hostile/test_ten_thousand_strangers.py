"""Ten thousand strangers at once, each from an address of its own: what they cost the relay before any is known.

They say nothing, half a greeting, rubbish, a head that never ends, or open a link and never say hello. A device that is
linked and a technician who is logged in are served meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio

from protocol.api import DevicePage
from protocol.link import Ping, Pong
from tests.support.effort import LONG
from tests.support.footprint import MIB, cpu_s, forget_peak, peak
from tests.support.relay_world import FakeLink, World, relay_world, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRANGERS = 10_000 if LONG else 1_500
MEMORY = 160 * MIB
"""Above what the relay took before, whatever their number: the pace bounds how many it has in hand."""

CPU_MS_EACH = 25
"""Processor time, not time that passed. A whole TLS handshake takes 2 to 5."""

LINK = (
    b"GET /v1/link HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HELD = 400
"""Of each kind that costs the tester as much as the relay: so many at the same time."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    async with relay_world() as world:
        yield world
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def addresses() -> Iterator[str]:
    """Loopback is 127.0.0.0/8, and every address in it is somebody else."""
    return (f"127.{1 + n // 62_500}.{n // 250 % 250}.{1 + n % 250}" for n in range(STRANGERS))


class Strangers:
    """held: connections that stay open until the relay ends them, or the test."""

    def __init__(self, world: World) -> None:
        self._where = world.address.host, world.address.port
        self._name = world.address.dialled_name.encode()
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        self._costly = asyncio.Semaphore(HELD)
        self.held: list[asyncio.StreamWriter] = []
        self.turned_away = 0

    async def come(self, number: int, address: str) -> None:
        kinds: tuple[Callable[[str], Awaitable[None]], ...] = (
            self._say_nothing, self._half_a_greeting, self._rubbish, self._endless_head, self._link_without_hello,
        )  # fmt: skip
        try:
            async with asyncio.timeout(60):
                await kinds[number % len(kinds)](address)
        except (OSError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError):
            self.turned_away += 1

    async def _dial(self, address: str, *, tls: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            *self._where, local_addr=(address, 0), ssl=self._tls if tls else None
        )
        self.held.append(writer)
        return reader, writer

    async def _say_nothing(self, address: str) -> None:
        await self._dial(address)

    async def _half_a_greeting(self, address: str) -> None:
        _, writer = await self._dial(address)
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(64))

    async def _rubbish(self, address: str) -> None:
        reader, writer = await self._dial(address)
        writer.write(random.Random(address).randbytes(16_000))
        await reader.read(1)

    async def _endless_head(self, address: str) -> None:
        async with self._costly:
            _, writer = await self._dial(address, tls=True)
            writer.write(b"GET /v1/relay HTTP/1.1\r\nHost: x\r\nX-Slow: aaaa")

    async def _link_without_hello(self, address: str) -> None:
        async with self._costly:
            reader, writer = await self._dial(address, tls=True)
            writer.write(LINK % self._name)
            await reader.readexactly(12)

    def leave(self) -> None:
        for writer in self.held:
            writer.transport.abort()


async def lives_on(link: FakeLink, ended: asyncio.Event) -> int:
    """How many questions the relay answers over a link that stands, until `ended`; none may stay unanswered."""
    answered = 0
    while not ended.is_set():
        link.send(Ping(id=answered))
        while (await link.next(Pong)).id != answered:
            pass
        answered += 1
        await asyncio.sleep(0.05)
    return answered


async def test_what_they_cost_is_bounded_and_who_is_known_is_served(world: World) -> None:
    device = await world.device("lab")
    _, client = await world.technician()
    pid, strangers, over = world.relay.pid, Strangers(world), asyncio.Event()
    async with device.linked() as link:
        before, spent = forget_peak(pid), cpu_s(pid)
        asking = asyncio.ensure_future(lives_on(link, over))
        crowd = [asyncio.ensure_future(strangers.come(*who)) for who in enumerate(addresses())]
        page = await client.request("GET", "/v1/devices", DevicePage)
        assert [found.id for found in page.devices] == [device.id]
        await asyncio.gather(*crowd)
        over.set()
        assert await asking > 0
        more, cost_ms = peak(pid) - before, 1000 * (cpu_s(pid) - spent) / STRANGERS
        strangers.leave()
    print(f"{STRANGERS} strangers: {more / MIB:.0f} MiB, {cost_ms:.2f} ms each, {strangers.turned_away} turned away")
    assert more < MEMORY, f"{more / MIB:.0f} MiB"
    assert cost_ms < CPU_MS_EACH


async def test_nothing_is_left_of_them(world: World) -> None:
    connections = f"/proc/{world.relay.pid}/fd"
    await until(lambda: len(os.listdir(connections)) < 100, "their connections are gone")
    device = await world.device("lab")
    async with device.linked() as link:
        link.send(Ping(id=1))
        assert (await link.next(Pong)).id == 1
