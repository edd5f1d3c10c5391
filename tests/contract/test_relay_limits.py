"""Strangers who are slow, many, or endless: cut off, while everybody else is served."""

from __future__ import annotations

import asyncio
import re
import ssl
import time

import aiohttp
import pytest
import pytest_asyncio

from protocol.api import DevicePage, RelayInfo
from protocol.errors import AuxilioError
from relay.http.listener import HANDSHAKE_WITHIN_S, HEAD_WITHIN_S, MAX_WAITING
from relay.link_driver import HELLO_WITHIN_S
from tests.support.relay_world import World, relay_world, until
from transport.websocket import ConnectionEnded, connect

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIGHT = "[limits]\nconnections_per_address = 40\nhandshakes = 8\nrequests_per_s = 200.0\nrequest_burst = 2000.0\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    async with relay_world(TIGHT) as world:
        yield world


def tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def dial(world: World, *, shake: bool = True) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = world.address.host, world.address.port
    return await asyncio.open_connection(host, port, ssl=tls() if shake else None)


async def closed_within(reader: asyncio.StreamReader, seconds: float) -> bytes:
    """What still comes until the relay closes; fails where it does not."""
    async with asyncio.timeout(seconds):
        try:
            return await reader.read(-1)
        except ConnectionError:
            return b""


async def served(world: World) -> bool:
    try:
        await world.stranger.request("GET", "/v1/relay", RelayInfo)
    except AuxilioError:
        return False
    return True


async def test_a_head_that_comes_a_byte_at_a_time_is_cut_off_and_others_are_served(world: World) -> None:
    reader, writer = await dial(world)
    began = time.monotonic()

    async def trickle() -> None:
        for byte in b"GET /v1/relay HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 10_000:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.2)

    slow = asyncio.ensure_future(trickle())
    assert await served(world)
    await closed_within(reader, HEAD_WITHIN_S + 30)
    slow.cancel()
    assert time.monotonic() - began < HEAD_WITHIN_S + 30


@pytest.mark.parametrize("shake", [True, False], ids=["after the handshake", "before the handshake"])
async def test_a_connection_that_says_nothing_is_cut_off(world: World, shake: bool) -> None:
    reader, _ = await dial(world, shake=shake)
    await closed_within(reader, 60)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/relay HTTP/1.1\r\n" + b"X-Endless: " + b"a" * 100_000,
        b"GET /v1/relay HTTP/1.1\r\n" + b"X-Many: a\r\n" * 10_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x00" * 100_000,
        b"GET /v1/relay HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/relay HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01" * 1000,
    ],
    ids=["header", "headers", "line", "zeros", "length", "smuggling", "http2", "tls in tls"],
)
async def test_a_head_without_end_or_sense_is_refused(world: World, head: bytes) -> None:
    reader, writer = await dial(world)
    writer.write(head)
    answer = await closed_within(reader, 60)
    assert b" 200 " not in answer.split(b"\r\n")[0]
    assert await served(world)


async def test_a_body_that_does_not_come_or_does_not_end_is_not_waited_for(world: World) -> None:
    path = f"/v1/organisations/{world.organisation.id}/login".encode()
    reader, writer = await dial(world)
    writer.write(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        writer.write(b"400\r\n" + b" " * 1024 + b"\r\n")
    answer = await closed_within(reader, 60)
    assert answer.startswith(b"HTTP/1.1 413 ")
    reader, writer = await dial(world)
    writer.write(b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this")
    answer = await closed_within(reader, 90)
    assert b"body_late" in answer


async def test_one_address_holds_a_bounded_number_of_connections(world: World) -> None:
    held = []
    for _ in range(60):
        try:
            held.append(await dial(world))
        except (ConnectionError, OSError):
            break
    assert len(held) <= 40
    for _, writer in held:
        writer.close()
    await until(lambda: served(world), "there is room again")


async def test_a_crowd_in_the_middle_of_its_handshakes_is_bounded_and_passes(world: World) -> None:
    crowd = await asyncio.gather(*(dial(world, shake=False) for _ in range(30)), return_exceptions=True)
    for one in crowd:
        if not isinstance(one, BaseException):
            one[1].close()
    await until(lambda: served(world), "others are served again")


async def test_who_comes_with_a_crowd_is_turned_away_at_once_and_served_later(world: World) -> None:
    """Those who wait are as many as one second serves: nobody stands in a line until they give up."""
    host, port = world.address.host, world.address.port
    came = await asyncio.gather(
        *(asyncio.open_connection(host, port) for _ in range(4 * MAX_WAITING)), return_exceptions=True
    )
    assert all(not isinstance(one, BaseException) or isinstance(one, ConnectionError) for one in came)
    async with asyncio.timeout(HANDSHAKE_WITHIN_S):
        await until(lambda: refused(world, "crowd"), "some were turned away")
    crowd = [one for one in came if not isinstance(one, BaseException)]
    for _, writer in crowd:
        writer.close()
    assert await world.stranger.request("GET", "/v1/relay", RelayInfo)


async def refused(world: World, why: str) -> float:
    """How many connections the relay says that it turned away for this."""
    async with aiohttp.ClientSession() as http, http.get(f"{world.relay.admin_url}/metrics") as answer:
        text = await answer.text()
    found = re.search(rf'auxilio_connections_refused_total{{why="{why}"}} ([0-9.e+]+)', text)
    return float(found[1]) if found else 0.0


async def test_an_agent_that_says_no_hello_is_cut_off(world: World) -> None:
    link = await connect(world.address, "/v1/link")
    await link.receive()
    async with asyncio.timeout(HELLO_WITHIN_S + 30):
        with pytest.raises(ConnectionEnded):
            await link.receive()


async def test_too_many_requests_are_told_when_to_come_back_and_who_is_logged_in_goes_on(world: World) -> None:
    async with relay_world("[limits]\nrequests_per_s = 0.1\nrequest_burst = 30.0\n") as tight:
        _, client = await tight.technician()
        await client.request("GET", "/v1/devices", DevicePage)
        refusals = []
        for _ in range(40):
            try:
                await tight.stranger.request("GET", "/v1/relay", RelayInfo)
            except AuxilioError as exc:
                refusals.append(exc)
                break
        assert refusals and refusals[0].reason == "too_many_requests"
        assert getattr(refusals[0], "retry_after_s", 0) >= 1
        # A guess at a token is refused unseen by now, and a token that is good is still good.
        error = None
        try:
            await tight.client("A" * 43).request("GET", "/v1/devices", DevicePage)
        except AuxilioError as exc:
            error = exc
        assert error is not None and error.reason == "too_many_requests"
        await client.request("GET", "/v1/devices", DevicePage)
