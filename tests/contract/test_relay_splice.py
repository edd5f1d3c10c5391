"""The splice under load: whole, in order, both ways at once, in bounded memory, and gone when it is told to be."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import WSMessage, WSMsgType, web

from protocol.api import Session
from protocol.link import SessionEnded
from relay.splice import Ended, Leg, make_socket
from tests.support.effort import LONG
from tests.support.relay_world import FakeLink, World, relay_world, until
from transport.websocket import Connection, ConnectionEnded, connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
VOLUME = (512 if LONG else 64) * MIB
FRAME = 128 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    async with relay_world() as world:
        yield world


def rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@asynccontextmanager
async def spliced(world: World) -> AsyncIterator[tuple[Connection, Connection, str, FakeLink]]:
    device = await world.device("clinic")
    technician, client = await world.technician()
    async with device.linked() as link:
        started = await world.start_session(technician, client, device.id)
        offer = await link.offer()
        legs = []
        for ticket in (started.ticket, offer.ticket):
            path = f"/v1/legs/{started.session}"
            legs.append(await connect(world.address, path, bearer=ticket, max_message_bytes=MIB))
        for leg in legs:
            assert await leg.receive() == '{"type":"spliced"}'
        yield legs[0], legs[1], started.session, link
        for leg in legs:
            leg.close()


async def pour(leg: Connection, seed: int, volume: int) -> str:
    block = hashlib.shake_128(seed.to_bytes(4, "big")).digest(FRAME)
    digest = hashlib.sha256()
    for number in range(volume // FRAME):
        piece = number.to_bytes(8, "big") + block[8:]
        digest.update(piece)
        await leg.writable()
        leg.send_binary(piece)
    return digest.hexdigest()


async def drink(leg: Connection, volume: int) -> str:
    digest = hashlib.sha256()
    got = 0
    while got < volume:
        message = await leg.receive()
        assert isinstance(message, bytes)
        digest.update(message)
        got += len(message)
    return digest.hexdigest()


async def test_what_goes_in_comes_out_whole_and_in_order_both_ways_at_once(world: World) -> None:
    async with spliced(world) as (console, device, _, _):
        began = time.perf_counter()
        sums = await asyncio.gather(
            pour(console, 1, VOLUME), drink(device, VOLUME), pour(device, 2, VOLUME), drink(console, VOLUME)
        )
        assert sums[0] == sums[1] and sums[2] == sums[3]
        print(f"{2 * VOLUME / MIB / (time.perf_counter() - began):.0f} MiB/s both ways, test process included")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 256 * 1024])
async def test_messages_of_every_length_keep_their_borders(world: World, size: int) -> None:
    async with spliced(world) as (console, device, _, _):
        for _ in range(3):
            console.send_binary(b"x" * size)
            device.send_binary(b"y" * size)
        for _ in range(3):
            assert await device.receive() == b"x" * size
            assert await console.receive() == b"y" * size


async def test_a_side_that_reads_nothing_costs_the_relay_no_memory(world: World) -> None:
    async with spliced(world) as (console, device, session, link):
        before = rss_bytes(world.relay.pid)
        sent = 0
        block = os.urandom(FRAME)
        # The other side does not read: its own client stops reading its socket, then the relay's socket fills.
        while sent < 256 * MIB:
            try:
                async with asyncio.timeout(5):
                    await console.writable()
            except TimeoutError:
                break
            console.send_binary(block)
            sent += FRAME
        assert sent < 64 * MIB, "somebody buffers without bound"
        assert rss_bytes(world.relay.pid) - before < 16 * MIB
        # And the relay ends it when it is told to, although nobody reads.
        _, client = await world.technician()
        await client.request("DELETE", f"/v1/sessions/{session}", Session)
        async with asyncio.timeout(60):
            await console.wait_closed()
        link.send(SessionEnded(session=session, reason="withdrawn"))

        async def freed() -> bool:
            async with aiohttp.ClientSession() as http, http.get(world.relay.admin_url + "/metrics") as answer:
                return "auxilio_legs 0.0" in await answer.text()

        device.close()
        await until(freed, "both legs are gone")


async def test_a_hundred_sessions_pass_at_once(world: World) -> None:
    count = 100 if LONG else 30

    async def one(number: int) -> None:
        async with spliced(world) as (console, device, _, _):
            for _ in range(20):
                console.send_binary(number.to_bytes(4, "big"))
                assert await device.receive() == number.to_bytes(4, "big")
                device.send_binary(b"ok")
                assert await console.receive() == b"ok"

    for start in range(0, count, 10):
        await asyncio.gather(*(one(number) for number in range(start, start + 10)))


async def test_the_closing_side_says_why_and_the_other_hears_it(world: World) -> None:
    async with spliced(world) as (console, device, _, _):
        console.send_binary(b"last words")
        console.close(1000, "the shell ended")
        assert await device.receive() == b"last words"
        with pytest.raises(ConnectionEnded) as ended:
            await device.receive()
        assert (ended.value.close_code, ended.value.close_reason) == (1000, "the shell ended")


async def test_a_connection_that_breaks_is_not_passed_on_as_a_clean_end(world: World) -> None:
    async with spliced(world) as (console, device, _, _):
        assert console._socket is not None
        console._socket.underlying_transport.abort()
        with pytest.raises(ConnectionEnded) as ended:
            await device.receive()
        assert ended.value.close_code == 4001


async def test_a_leg_that_leaves_as_the_other_arrives_leaves_nobody_waiting() -> None:
    """Its close is read in the loop's turn in which the two are joined, so that it is never told of the splice."""
    legs: dict[str, Leg] = {}
    ended: dict[str, Ended] = {}

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket, name = make_socket(), request.query["name"]
        leg = legs[name] = Leg(socket, lambda count: None)
        await socket.prepare(request)
        if name == "late":
            early = legs["early"]
            early._socket._reader.feed_data(WSMessage(WSMsgType.CLOSE, 1000, "bye"), 5)
            leg.join(early)
            early.join(leg)
        ended[name] = await leg.run()
        return socket

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/?name="
    async with aiohttp.ClientSession() as client:
        await client.ws_connect(url + "early")
        late = await client.ws_connect(url + "late")
        await late.send_bytes(b"to nobody")
        await until(lambda: len(ended) == 2, "both legs are gone")
    await runner.cleanup()
