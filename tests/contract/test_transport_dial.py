"""Dialling through proxies that the test plays, over real sockets: TLS and pin end to end, bounds, no secrets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from protocol.error_body import ErrorBody
from protocol.errors import AuxilioError, Untrusted
from tests.support.tls_relay import HttpRelay
from transport import dial as dialling
from transport.dial import connect_tcp
from transport.http import RelayClient
from transport.proxy import Proxy
from transport.proxy_handshake import ProxyFailed
from transport.relay_address import RelayAddress
from transport.websocket import connect

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

WITHIN_S = 60.0
SECRET = "hunter2"


@asynccontextmanager
async def proxy(talk: Talk, scheme: str = "http") -> AsyncIterator[Proxy]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Proxy("http" if scheme == "http" else "socks5", "127.0.0.1", port, "ana", SECRET)


def forwarding(port: int, seen: list[bytes]) -> Talk:
    """An HTTP proxy that connects to `port`, whatever name it is asked for."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.append(data)
            writer.write(data)
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(reader, far_writer))
            tasks.create_task(pump(far_reader, writer))

    return talk


def through(relay: HttpRelay, by: Proxy, **changes: object) -> RelayAddress:
    """The relay, by a name that only the proxy can make something of."""
    address = msgspec.structs.replace(relay.address, host="relay.invalid", proxy=by)
    return msgspec.structs.replace(address, **changes)


async def failure(address: RelayAddress) -> AuxilioError:
    """What both ways of using a relay say; they have to say the same."""
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(AuxilioError) as http:
            async with RelayClient(address, bearer="token") as client:
                await client.request("GET", "/", None)
        with pytest.raises(AuxilioError) as websocket:
            await connect(address, "/", bearer="token")
    assert http.value.message == websocket.value.message and http.value.reason == websocket.value.reason
    assert SECRET not in f"{http.value.message} {http.value.hint}" and "ana" not in http.value.message
    return http.value


async def echo(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade"):
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        async for message in answer:
            await answer.send_str(message.data)
        return answer
    return web.json_response({"code": "echo", "message": request.headers["Host"]})


async def test_requests_and_websockets_pass_and_the_proxy_sees_none_of_their_bytes() -> None:
    relay, seen = HttpRelay(), list[bytes]()
    relay.app.router.add_get("/{path:.*}", echo)
    async with relay, proxy(forwarding(relay.port, seen)) as by:
        address = through(relay, by)
        async with RelayClient(address, bearer="very-secret-token") as client:
            answer = await client.request("GET", "/x", ErrorBody)
        assert answer.message == f"relay.invalid:{relay.port}"
        async with await connect(address, "/ws", bearer="very-secret-token") as connection:
            connection.send_text("hello")
            assert await connection.receive() == "hello"
            assert connection.addresses == ("127.0.0.1", "127.0.0.1")
    assert seen[0].startswith(f"CONNECT relay.invalid:{relay.port} ".encode())
    assert b"very-secret-token" not in b"".join(seen), "TLS goes through to the relay"


async def test_a_proxy_that_puts_itself_in_between_meets_the_pin() -> None:
    relay, seen = HttpRelay(), list[bytes]()
    relay.app.router.add_get("/{path:.*}", echo)
    async with relay, HttpRelay() as other, proxy(forwarding(other.port, seen)) as by:
        error = await failure(through(relay, by))
        assert isinstance(error, Untrusted) and error.reason == "wrong_pin"


@pytest.mark.parametrize(
    ("scheme", "said", "code"),
    [
        ("http", b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\n", "proxy_credentials"),
        ("http", b"HTTP/1.1 403 x\r\n\r\n", "proxy_refused"),
        ("http", b"HTTP/1.1 200 x\r\nX: " + b"x" * 100_000, "proxy_fault"),
        ("http", b"", "proxy_fault"),
        ("socks5", b"\5\xff", "proxy_credentials"),
        ("socks5", b"HTTP/1.1 400 x\r\n\r\n", "proxy_fault"),
        ("socks5", b"\5", "proxy_fault"),
    ],
)
async def test_a_proxys_refusal_is_one_line_that_helps(scheme: str, said: bytes, code: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        await writer.drain()

    async with HttpRelay() as relay, proxy(talk, scheme) as by:
        error = await failure(through(relay, by))
        assert isinstance(error, ProxyFailed) and error.reason == code and error.hint


async def test_a_proxy_that_is_not_there_is_the_one_that_is_blamed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        by = Proxy("socks5", "127.0.0.1", taken.getsockname()[1])
        async with HttpRelay() as relay:
            error = await failure(through(relay, by))
            assert error.reason == "proxy_unreachable" and "nothing listens" in error.message
            nowhere = msgspec.structs.replace(by, host="proxy.invalid")
            assert "name cannot be resolved" in (await failure(through(relay, nowhere))).message


async def test_a_proxy_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(dialling, "PROXY_S", 0.3)
    async with HttpRelay() as relay, proxy(talk) as by:
        error = await failure(through(relay, by))
        assert error.reason == "proxy_failed" and "in time" in error.message


async def test_of_a_names_addresses_the_one_that_answers_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    async with HttpRelay() as relay:

        async def resolve(host: str, port: int) -> list[dialling.Where]:
            # A black hole in practice: a full backlog swallows SYNs. Then one that refuses, then the right one.
            return [
                (socket.AF_INET, hole.getsockname()),
                (socket.AF_INET6, ("::1", 1, 0, 0)),
                (socket.AF_INET, ("127.0.0.1", relay.port)),
            ]

        monkeypatch.setattr(dialling, "_resolve", resolve)
        with socket.socket() as hole, contextlib.ExitStack() as kept:
            hole.bind(("127.0.0.1", 0))
            hole.listen(0)
            for _ in range(3):  # fill it
                filler = kept.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(hole.getsockname())
            async with asyncio.timeout(WITHIN_S):
                connection = await connect_tcp("relay.example", 1)
            assert connection.getpeername()[1] == relay.port
            connection.close()


@pytest.mark.parametrize("turn_s", [0.0, 0.25])
async def test_no_cancellation_stays_on_the_account_of_whoever_connects(
    monkeypatch: pytest.MonkeyPatch, turn_s: float
) -> None:
    """Python 3.11.2 would take their next time-out for it. Whether the connection takes longer than a turn or not."""
    monkeypatch.setattr(dialling, "HAPPY_EYEBALLS_S", turn_s)
    async with HttpRelay() as relay:
        for _ in range(3):
            (await connect_tcp("127.0.0.1", relay.port)).close()
            task = asyncio.current_task()
            assert task is not None and task.cancelling() == 0


async def test_of_many_failures_the_one_is_told_that_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[dialling.Where]:
        return [(socket.AF_INET6, ("2001:db8::1", 1, 0, 0)), (socket.AF_INET, ("127.0.0.1", 1))]

    monkeypatch.setattr(dialling, "_resolve", resolve)
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            await connect_tcp("relay.example", 1)


async def test_small_pieces_do_not_wait_for_each_other_s_acknowledgement() -> None:
    async with HttpRelay() as relay:
        connection = await connect_tcp("127.0.0.1", relay.port)
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.close()


def test_families_take_turns() -> None:
    four = [(socket.AF_INET, (str(n), 1)) for n in range(3)]
    six = [(socket.AF_INET6, (str(n), 1, 0, 0)) for n in range(1)]
    assert dialling._alternating([*four, *six]) == [four[0], six[0], four[1], four[2]]
    assert dialling._alternating([]) == []
