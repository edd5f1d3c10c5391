"""WebSockets to real servers, to servers that cheat, and to servers that do not read."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web

from protocol.errors import AuxilioError, PeerFault, Refused, RelayUnreachable
from tests.support.tls_relay import HttpRelay, RawRelay
from transport import websocket
from transport.failures import RelayFailed, RelayTimeout
from transport.websocket import HIGH_WATER_BYTES, MAX_WAITING, Connection, ConnectionEnded, connect

BOUND = 100_000


async def failure(asked: Awaitable[object]) -> AuxilioError:
    with pytest.raises(AuxilioError) as caught:
        await asyncio.wait_for(asked, 60)
    return caught.value


ENDS = web.AppKey("ends", asyncio.Queue)


def echo_relay() -> HttpRelay:
    """Echoes messages at /echo; what it hears of the end is in relay.app[ENDS]."""
    relay = HttpRelay()
    ends: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()
    relay.app[ENDS] = ends

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        ends.put_nowait((socket.close_code, request.headers.get("Authorization")))
        return socket

    relay.app.router.add_get("/echo", echo)
    return relay


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def raw_relay(talk: Talk) -> RawRelay:
    """Upgrades properly and then does `talk`."""

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await relay.request(reader)
        key = re.search(rb"(?i)sec-websocket-key: *([^\r]+)", head)
        assert key is not None
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.group(1) + guid).digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await talk(reader, writer)

    relay = RawRelay(upgrade)
    return relay


def frame(opcode: int, payload: bytes, *, final: bool = True, rsv: int = 0, masked: bool = False) -> bytes:
    head = bytes([(0x80 if final else 0) | rsv << 4 | opcode])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + len(payload).to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


async def test_messages_come_back_as_they_went() -> None:
    async with echo_relay() as relay:
        async with await connect(relay.address, "/echo", bearer="ticket", max_message_bytes=BOUND) as connection:
            for message in ("hé 日本", "", b"", b"\x00\xff" * 40_000, "x" * BOUND):
                if isinstance(message, str):
                    connection.send_text(message)
                else:
                    connection.send_binary(message)
                assert await connection.receive() == message
        assert await relay.app[ENDS].get() == (1000, "Bearer ticket")


async def test_fragments_are_one_message() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(TEXT, "é".encode()[:1], final=False))
        writer.write(frame(PING, b"between"))
        writer.write(frame(0, "é".encode()[1:], final=False))
        writer.write(frame(0, b"!"))
        writer.write(frame(BINARY, b"", final=False) + frame(0, b"end"))
        await reader.read(1)

    async with raw_relay(talk) as relay, await connect(relay.address, "/") as connection:
        assert await connection.receive() == "é!"
        assert await connection.receive() == b"end"


async def test_a_ping_is_answered() -> None:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(PONG, b"unasked") + frame(PING, b"abc"))
        answer.set_result(await reader.readexactly(9))

    async with raw_relay(talk) as relay:
        await connect(relay.address, "/")
        head = await answer
        assert head[:2] == bytes([0x80 | PONG, 0x80 | 3])
        assert bytes(a ^ b for a, b in zip(head[6:], head[2:5], strict=True)) == b"abc"


@pytest.mark.parametrize(
    ("closing", "code", "reason"),
    [
        (frame(CLOSE, b"\x03\xe8"), 1000, ""),
        (frame(CLOSE, b"\x0f\xa1revoked"), 4001, "revoked"),
        (frame(CLOSE, b"\x03\xf4\x1b[31m"), 1012, "\\x1b[31m"),
        (frame(CLOSE, b""), 1005, ""),
        (b"", 1006, ""),
        (frame(BINARY, b"x" * 1000)[:500], 1006, ""),
    ],
)
async def test_an_end_has_its_code_and_reason(closing: bytes, code: int, reason: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(TEXT, b"last words") + closing)
        await writer.drain()
        if len(closing) > 400 or not closing:
            writer.close()
            await asyncio.sleep(0.05)
        else:
            await reader.read()

    async with raw_relay(talk) as relay:
        connection = await connect(relay.address, "/")
        assert await connection.receive() == "last words"
        error = await failure(connection.receive())
        assert isinstance(error, ConnectionEnded)
        assert (error.close_code, error.close_reason) == (code, reason)
        closed = await asyncio.wait_for(connection.wait_closed(), 60)
        assert (closed.code, closed.reason) == (code, reason)
        assert connection.fault is None
        connection.send_text("into the void")
        connection.close()
        await connection.writable()


async def test_iterating_ends_with_a_normal_close_and_raises_for_any_other() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(CLOSE, codes.pop()))
        await reader.read()

    codes = [b"\x03\xf3", b"\x03\xe9"]
    async with raw_relay(talk) as relay:
        assert [message async for message in await connect(relay.address, "/")] == ["a", "b"]
        with pytest.raises(ConnectionEnded):
            async for _ in await connect(relay.address, "/"):
                pass


@pytest.mark.parametrize(
    "hostile",
    [
        frame(TEXT, b"\xff\xfe"),
        frame(TEXT, b"\xed\xa0\x80"),
        frame(0, b"continues nothing"),
        frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
        frame(TEXT, b"a", rsv=4),
        frame(BINARY, b"a", rsv=1),
        frame(BINARY, b"x" * (BOUND + 1)),
        frame(BINARY, b"x" * BOUND, final=False) + frame(0, b"x"),
        bytes([0x82, 127]) + (2**63).to_bytes(8, "big"),
        bytes([0x82, 127]) + (2**64 - 1).to_bytes(8, "big"),
        frame(3, b"reserved"),
        frame(11, b"reserved"),
        frame(TEXT, b"masked", masked=True),
        frame(PING, b"p", final=False),
        frame(PING, b"p" * 126),
        frame(CLOSE, b"\x03"),
        frame(CLOSE, b"\x03\xe8\xff"),
    ],
)
async def test_a_relay_that_breaks_the_rules_is_told_and_left(hostile: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hostile)
        said.set_result(await reader.read(4096))

    said: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    async with raw_relay(talk) as relay:
        connection = await connect(relay.address, "/", max_message_bytes=BOUND)
        error = await failure(connection.receive())
        assert isinstance(error, PeerFault)
        assert error.message.isprintable()
        assert (await said)[0] == 0x80 | CLOSE
        await asyncio.wait_for(connection.wait_closed(), 60)
        assert connection.fault is not None


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [(401, Refused, "bad_ticket"), (404, Refused, "bad_ticket"), (503, RelayFailed, "bad_ticket")],
)
async def test_a_refused_upgrade_is_told_in_the_relays_words(
    status: int, kind: type[AuxilioError], reason: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        body = {"code": reason, "message": "the ticket was used \u001b[0m", "hint": "ask for another"}
        return web.json_response(body, status=status, headers={"Retry-After": "5"})

    relay = HttpRelay()
    relay.app.router.add_get("/v1/legs/x", refuse)
    async with relay:
        error = await failure(connect(relay.address, "/v1/legs/x"))
        assert type(error) is kind
        assert (error.reason, error.message, error.hint) == (
            reason,
            "the ticket was used \\x1b[0m",
            "ask for another",
        )
        if isinstance(error, RelayFailed):
            assert error.retry_after_s == 5.0


async def test_a_redirect_does_not_get_the_ticket() -> None:
    async with echo_relay() as elsewhere:
        relay = HttpRelay()

        async def redirect(request: web.Request) -> web.Response:
            raise web.HTTPTemporaryRedirect(f"wss://127.0.0.1:{elsewhere.port}/echo")

        relay.app.router.add_get("/", redirect)
        async with relay:
            assert isinstance(await failure(connect(relay.address, "/", bearer="secret")), PeerFault)
            assert elsewhere.app[ENDS].empty()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"SSH-2.0-x\r\n" * 10_000,
        b"HTTP/1.1 101 X\r\n" + b"X-Filler: y\r\n" * 100_000,
        b"HTTP/1.1 101 \xff\xff\r\n\r\n",
    ],
)
async def test_what_is_no_upgrade_is_the_relays_fault(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay.request(reader)
        writer.write(answer)
        await reader.read()

    relay = RawRelay(talk)
    async with relay:
        error = await failure(connect(relay.address, "/", timeout_s=20))
        assert isinstance(error, PeerFault | RelayUnreachable)
        assert not isinstance(error, RelayTimeout)
        assert error.message.isprintable()


async def test_a_relay_that_never_upgrades_is_left_at_the_deadline() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay.request(reader)
        gone.set_result(await reader.read())

    gone: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    relay = RawRelay(talk)
    async with relay:
        assert isinstance(await failure(connect(relay.address, "/", timeout_s=0.3)), RelayTimeout)
        assert await asyncio.wait_for(gone, 60) == b""


async def test_a_relay_that_hangs_up_during_the_upgrade_is_unreachable() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await relay.request(reader)

    relay = RawRelay(talk)
    async with relay:
        assert isinstance(await failure(connect(relay.address, "/")), RelayUnreachable)


def buffered(connection: Connection) -> int:
    assert connection._socket is not None
    return connection._socket.underlying_transport.get_write_buffer_size()


async def test_a_relay_that_does_not_read_makes_the_writer_wait() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        drained.set_result(len(await reader.read()))

    release = asyncio.Event()
    drained: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with raw_relay(talk) as relay:
        connection = await connect(relay.address, "/")
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await connection.writable()
                    connection.send_binary(b"x" * 65536)
                    sent += 65536
        assert not connection.is_writable
        assert buffered(connection) < 2 * HIGH_WATER_BYTES
        release.set()
        await asyncio.wait_for(connection.writable(), 60)
        connection.close()
        assert await asyncio.wait_for(drained, 60) > sent


async def test_a_flood_of_pings_to_a_writer_that_is_stuck_piles_nothing_up() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await full.wait()
        for _ in range(2000):
            writer.write(frame(PING, b"p" * 125) * 100)
            await writer.drain()
        writer.write(frame(TEXT, b"done"))
        await asyncio.Event().wait()

    full = asyncio.Event()
    async with raw_relay(talk) as relay:
        connection = await connect(relay.address, "/")
        while connection.is_writable:
            connection.send_binary(b"x" * 65536)
            await asyncio.sleep(0)
        full.set()
        before = buffered(connection)
        assert await connection.receive() == "done"
        assert buffered(connection) <= before + 1024
        connection.abort()


@pytest.mark.parametrize("size", [0, 1, 60_000])
async def test_messages_that_nobody_takes_stop_the_reading(size: int) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        batch = frame(BINARY, b"x" * size) * (1 if size > 1000 else 1000)
        while True:
            writer.write(batch)
            await writer.drain()
            sent += len(batch)
            await asyncio.sleep(0)

    async with raw_relay(talk) as relay:
        connection = await connect(relay.address, "/")
        last = -1
        while sent != last:  # until the relay is stuck
            last = sent
            await asyncio.sleep(0.3)
        # What picows and asyncio's TLS had read already comes on top of the mark.
        assert connection._held <= HIGH_WATER_BYTES + 1024 * 1024
        assert len(connection._messages) <= MAX_WAITING + 1024 * 1024
        for _ in range(3 * MAX_WAITING if size < 1000 else 100):
            assert len(await connection.receive()) == size
        connection.abort()


async def test_what_was_sent_before_a_close_arrives() -> None:
    async def collect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        # More than the client reads, so that its close meets bytes on their way.
        for _ in range(20):
            await socket.send_bytes(b"y" * 65536)
        async for message in socket:
            received.append(len(message.data))
        done.set_result((sum(received), socket.close_code))
        return socket

    received: list[int] = []
    done: asyncio.Future[tuple[int, int | None]] = asyncio.get_running_loop().create_future()
    relay = HttpRelay()
    relay.app.router.add_get("/", collect)
    async with relay:
        connection = await connect(relay.address, "/", max_message_bytes=BOUND)
        for _ in range(30):
            connection.send_binary(b"x" * 65536)
        connection.close(4000, "é" * 200)
        assert (await asyncio.wait_for(connection.wait_closed(), 60)).code == 4000
        assert await asyncio.wait_for(done, 60) == (30 * 65536, 4000)


async def test_closing_towards_a_relay_that_never_answers_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(websocket, "CLOSE_WITHIN_S", 0.2)
    async with raw_relay(talk) as relay:
        connection = await connect(relay.address, "/")
        waiting = asyncio.ensure_future(connection.receive())
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(ConnectionEnded):
            await asyncio.wait_for(waiting, 60)
        assert (await asyncio.wait_for(connection.wait_closed(), 60)).code == 1000


def test_the_transport_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import json, sys, transport.leg, transport.blobs, transport.events;"
        "print(json.dumps([m for m in ('asyncssh', 'aiohttp', 'sqlalchemy', 'cryptography', 'uvloop', 'click')"
        " if m in sys.modules]))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(made.stdout) == []


async def test_dialling_imports_nothing_that_was_not_there_before() -> None:
    """A session's child gives up its rights first, and may not be able to read its own interpreter any more."""
    import sys

    code = """if 1:
        import asyncio, sys
        import concurrent.futures.thread, encodings.idna
        import cryptography.x509, cryptography.hazmat.primitives.serialization
        from protocol.errors import AuxilioError
        from transport.leg import open_leg
        from transport.relay_address import parse_address
        async def main():
            url, pin = sys.argv[1:]
            for address in (parse_address(url, pin), parse_address(url), parse_address("https://127.0.0.1:1")):
                try:
                    await open_leg(address, "x", "ticket")
                except AuxilioError as exc:
                    print(exc.reason)
        before = set(sys.modules)
        asyncio.run(main())
        print(sorted(set(sys.modules) - before))
    """

    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"code": "bad_ticket", "message": "no"}, status=403)

    relay = HttpRelay()
    relay.app.router.add_get("/v1/legs/x", refuse)
    async with relay:
        made = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, relay.address.url, relay.certificate.pin, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(made.communicate(), 60)
    assert said.decode().split("\n")[:4] == ["bad_ticket", "bad_certificate", "relay_unreachable", "[]"]
