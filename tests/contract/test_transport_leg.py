"""Legs: what SSH runs on. Real TLS, a real splice, and relays that tamper."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncssh
import pytest

from protocol.errors import AuxilioError, BadMessage, PeerFault, Refused
from protocol.ids import SessionId
from protocol.leg import Refused as LegRefused
from protocol.leg import Waiting
from protocol.stream import ACK, DATA, FIN, MAX_DATA_BYTES, WINDOW_BYTES, encode_frame
from tests.support.effort import LONG
from tests.support.splice import Tamper, add_legs
from tests.support.tls_relay import HttpRelay
from transport import leg_dial
from transport.failures import RelayTimeout
from transport.leg import HIGH_WATER_BYTES, MAX_BACKLOG_BYTES, Leg, LegTransport, open_leg
from transport.websocket import ConnectionEnded

SESSION = SessionId("a" * 26)
MIB = 1024 * 1024


class End(asyncio.Protocol):
    """Counts and hashes what it gets. half_open: goes on after the far end's end."""

    def __init__(self, *, half_open: bool = True) -> None:
        self.half_open = half_open
        self.got = 0
        self.hash = hashlib.sha256()
        self.tail = b""
        self.eof = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        self.paused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, LegTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        self.got += len(data)
        self.hash.update(data)
        self.tail = (self.tail + data)[-64:]
        self.news.set()

    def eof_received(self) -> bool:
        self.eof.set()
        return self.half_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.paused += 1

    def resume_writing(self) -> None:
        self.paused -= 1

    async def until_got(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.got < count:
                self.news.clear()
                await self.news.wait()


@contextlib.asynccontextmanager
async def two_legs(tamper: Tamper | None = None) -> AsyncIterator[tuple[Leg, Leg]]:
    relay = HttpRelay()
    add_legs(relay, tamper=tamper)
    async with relay:
        one, other = await asyncio.gather(
            open_leg(relay.address, SESSION, "ticket-1"),
            open_leg(relay.address, SESSION, "ticket-2"),
        )
        try:
            yield one, other
        finally:
            for leg in (one, other):
                leg.abort()
            await asyncio.wait_for(asyncio.gather(one.wait_closed(), other.wait_closed()), 60)


@contextlib.asynccontextmanager
async def two_ends(tamper: Tamper | None = None, *, half_open: bool = True) -> AsyncIterator[tuple[Leg, End, Leg, End]]:
    async with two_legs(tamper) as (one, other):
        _, left = await one.create_connection(lambda: End(half_open=half_open))
        _, right = await other.create_connection(lambda: End(half_open=half_open))
        yield one, left, other, right


async def pump(leg: Leg, end: End, total: int) -> str:
    """Write `total` bytes as every pump of ours does, and half-close; return their hash."""
    digest = hashlib.sha256()
    block = bytes(range(256)) * 256
    for number in range(total // len(block)):
        chunk = number.to_bytes(8, "big") + block[8:]
        await leg.writable()
        end.transport.write(chunk)
        digest.update(chunk)
    end.transport.write_eof()
    return digest.hexdigest()


async def test_bulk_each_way_at_once_arrives_unaltered() -> None:
    total = (256 if LONG else 64) * MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with two_ends() as (one, left, other, right):
        sent = await asyncio.gather(pump(one, left, total), pump(other, right, total))
        await asyncio.wait_for(asyncio.gather(left.eof.wait(), right.eof.wait()), 120)
        assert (left.got, right.got) == (total, total)
        assert (right.hash.hexdigest(), left.hash.hexdigest()) == tuple(sent)
        left.transport.close()
        right.transport.close()
        assert await asyncio.wait_for(left.lost, 60) is None
        assert await asyncio.wait_for(right.lost, 60) is None
    # Two windows each way, at three places (both ends and the relay are this process).
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150 * 1024


async def test_each_direction_is_closed_by_itself() -> None:
    async with two_ends() as (one, left, other, right):
        left.transport.write(b"question")
        left.transport.write_eof()
        await asyncio.wait_for(right.eof.wait(), 60)
        assert right.tail == b"question"
        right.transport.write(b"answer")
        right.transport.close()
        await asyncio.wait_for(left.eof.wait(), 60)
        assert left.tail == b"answer"
        left.transport.close()
        assert [await asyncio.wait_for(end.lost, 60) for end in (left, right)] == [None, None]
        assert (one.ended, other.ended) == ("done", "done") or (one.ended and other.ended)


async def test_an_end_that_wants_no_half_open_stream_closes_with_the_other() -> None:
    async with two_ends(half_open=False) as (_, left, _, right):
        left.transport.write(b"bye")
        left.transport.close()
        assert await asyncio.wait_for(right.lost, 60) is None
        assert right.tail == b"bye"
        assert await asyncio.wait_for(left.lost, 60) is None
        assert left.transport.is_closing()
        left.transport.write(b"into the void")


async def test_what_was_written_before_an_abort_still_arrives() -> None:
    """asyncssh aborts its transport right after the DISCONNECT message that says why."""
    async with two_ends() as (_, left, _, right):
        blob = b"x" * (2 * MIB) + b"the reason"
        left.transport.write(blob)
        left.transport.abort()
        await right.until_got(len(blob))
        assert right.tail.endswith(b"the reason")
        await asyncio.wait_for(right.eof.wait(), 60)
        assert await asyncio.wait_for(left.lost, 60) is None


async def test_a_far_end_that_does_not_read_makes_the_writer_wait_in_bounded_memory() -> None:
    async with two_ends() as (one, left, _, right):
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        right.transport.pause_reading()
        assert not right.transport.is_reading()
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                while True:
                    await one.writable()
                    left.transport.write(b"x" * 65536)
                    sent += 65536
        assert WINDOW_BYTES <= sent <= WINDOW_BYTES + HIGH_WATER_BYTES + 2 * 65536
        assert left.paused == 1 and not one.is_writable
        assert left.transport.get_write_buffer_size() > HIGH_WATER_BYTES
        assert right.got <= MAX_DATA_BYTES
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024
        right.transport.resume_reading()
        await right.until_got(sent)
        await asyncio.wait_for(one.writable(), 60)
        assert left.paused == 0


async def test_a_writer_that_does_not_wait_ends_the_leg_before_memory_runs_out() -> None:
    async with two_ends() as (one, left, _, right):
        right.transport.pause_reading()
        written = 0
        while one.ended is None and written < 4 * MAX_BACKLOG_BYTES:
            left.transport.write(b"x" * 65536)
            written += 65536
            await asyncio.sleep(0)
        assert written <= MAX_BACKLOG_BYTES + WINDOW_BYTES + MIB
        error = await asyncio.wait_for(left.lost, 60)
        assert isinstance(error, PeerFault)
        assert error.reason == "far_end_stalled"


async def test_bytes_that_came_before_the_protocol_are_kept_for_it() -> None:
    async with two_legs() as (one, other):
        _, left = await one.create_connection(End)
        left.transport.write(b"early")
        await asyncio.sleep(0.05)
        _, right = await other.create_connection(End, "device", 22)
        await right.until_got(5)
        assert right.transport.get_extra_info("peername") == ("device", 22)
        assert right.transport.get_extra_info("socket") is None
        with pytest.raises(ConnectionError):
            await other.create_connection(End)


async def test_a_lost_relay_is_told_to_the_protocol() -> None:
    relay = HttpRelay()
    add_legs(relay)
    async with relay:
        legs = await asyncio.gather(*(open_leg(relay.address, SESSION, "t") for _ in range(2)))
        ends = [(await leg.create_connection(End))[1] for leg in legs]
        for leg in legs:
            assert leg.ended is None
            socket = leg._connection._socket
            assert socket is not None
            socket.underlying_transport.abort()
        for leg, end in zip(legs, ends, strict=True):
            assert isinstance(await asyncio.wait_for(end.lost, 60), ConnectionEnded)
            await leg.writable()
            await leg.wait_closed()
            assert leg.ended is not None and leg.is_closing
            with pytest.raises(ConnectionError):
                await leg.create_connection(End)


Change = Callable[[bytes], list[bytes]]


def alter_second(change: Change) -> Tamper:
    """Applies `change` to the second message with data in it."""
    seen = 0

    def tamper(message: bytes) -> list[bytes]:
        nonlocal seen
        seen += message[0] == DATA
        return change(message) if message[0] == DATA and seen == 2 else [message]

    return tamper


@pytest.mark.parametrize(
    "change",
    [
        lambda message: [],
        lambda message: [message[:-1]],
        lambda message: [b"", message],
        lambda message: [b"\xff" + message[1:]],
        lambda message: [encode_frame(ACK, 2**40)],
        lambda message: [message, encode_frame(FIN, 1)],
        lambda message: [encode_frame(FIN, 1000), message],
        lambda message: [encode_frame(DATA, 2**50, b"x")],
        lambda message: [encode_frame(DATA, 1000, b"x" * (MAX_DATA_BYTES + 1))],
    ],
)
async def test_a_relay_that_breaks_the_stream_ends_the_session(change: Change) -> None:
    async with two_ends(alter_second(change)) as (one, left, other, right):
        for number in range(1, 4):
            left.transport.write(b"x" * 1000)
            if number == 1:
                await right.until_got(1000)
            else:
                await asyncio.sleep(0.01)  # apart, so that each is a message of its own
        errors = await asyncio.wait_for(asyncio.gather(left.lost, right.lost), 60)
        # Whichever end notices says so; the other one learns that the session is over, and not by a clean end.
        assert all(isinstance(error, AuxilioError) for error in errors)
        assert any(isinstance(error, PeerFault) for error in errors)
        assert [one.ended, other.ended] == [str(error) for error in errors]


async def test_a_relay_that_repeats_everything_changes_nothing() -> None:
    async with two_ends(lambda message: [message, message]) as (one, left, other, right):
        sent = await asyncio.gather(pump(one, left, 4 * MIB), pump(other, right, 4 * MIB))
        await asyncio.wait_for(asyncio.gather(left.eof.wait(), right.eof.wait()), 60)
        assert (right.hash.hexdigest(), left.hash.hexdigest()) == tuple(sent)


async def failure(asked: Awaitable[object]) -> AuxilioError:
    with pytest.raises(AuxilioError) as caught:
        await asyncio.wait_for(asked, 60)
    return caught.value


async def test_a_refusal_is_told_in_the_words_of_whoever_refused() -> None:
    relay = HttpRelay()
    waits = (Waiting(until_at=1_800_000_000), Waiting(until_at=1_800_000_060))
    add_legs(relay, before=(*waits, LegRefused(code="consent_denied", message="the customer said \x1bno", hint="ask")))
    told: list[Waiting] = []
    async with relay:
        error = await failure(open_leg(relay.address, SESSION, "t", on_waiting=told.append))
        assert isinstance(error, Refused)
        assert (error.reason, error.message, error.hint) == ("consent_denied", "the customer said \\x1bno", "ask")
        assert told == list(waits)


async def test_waiting_prolongs_the_deadline_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = HttpRelay()
    add_legs(relay)
    async with relay:
        assert isinstance(await failure(open_leg(relay.address, SESSION, "t", splice_timeout_s=0.2)), RelayTimeout)
    asked = HttpRelay()
    add_legs(asked, before=(Waiting(until_at=0),))
    async with asked:
        legs = await asyncio.gather(*(open_leg(asked.address, SESSION, "t", splice_timeout_s=30) for _ in range(2)))
        for leg in legs:
            leg.abort()
        monkeypatch.setattr(leg_dial, "LONGEST_WAIT_S", 0.2)
        error = await failure(open_leg(asked.address, SessionId("b" * 26), "t", splice_timeout_s=30))
        assert isinstance(error, RelayTimeout)


@pytest.mark.parametrize("said", ["not json", '{"type":"tomorrow"}', '{"type":"waiting"}', "x" * 5000])
async def test_a_relay_that_says_something_else_is_at_fault(said: str) -> None:
    from aiohttp import web

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(said)
        await socket.receive()
        return socket

    relay = HttpRelay()
    relay.app.router.add_get("/v1/legs/{session}", serve)
    async with relay:
        assert isinstance(await failure(open_leg(relay.address, SESSION, "t")), BadMessage)


async def test_an_exception_in_a_protocol_ends_its_leg_alone() -> None:
    class Broken(End):
        def data_received(self, data: bytes) -> None:
            raise RuntimeError("a bug")

    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with two_legs() as (one, other):
        _, left = await one.create_connection(End)
        _, right = await other.create_connection(Broken)
        left.transport.write(b"x")
        assert await asyncio.wait_for(right.lost, 60) is None
        await asyncio.wait_for(left.eof.wait(), 60)
    assert isinstance(reported[0]["exception"], RuntimeError)


async def test_asyncssh_runs_on_a_leg_from_both_sides(tmp_path: Path) -> None:
    """The agent's end is a server by connect_reverse, the console's a client by connect; both by tunnel=."""
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    authorized = tmp_path / "authorized"
    authorized.write_bytes(user_key.export_public_key())

    async def serve(process: asyncssh.SSHServerProcess[bytes]) -> None:
        digest = hashlib.sha256()
        while chunk := await process.stdin.read(65536):
            digest.update(chunk)
            await device_leg.writable()
            process.stdout.write(chunk)
            await process.stdout.drain()
        process.stderr.write(digest.hexdigest().encode())
        process.exit(7)

    blob = bytes(range(256)) * 4096 * 16
    async with two_legs() as (device_leg, console_leg):
        server, client = await asyncio.gather(
            asyncssh.connect_reverse(
                "console",
                22,
                tunnel=device_leg,
                server_host_keys=[host_key],
                authorized_client_keys=str(authorized),
                process_factory=serve,
                encoding=None,
            ),
            asyncssh.connect(
                "device",
                22,
                tunnel=console_leg,
                username="admin",
                client_keys=[user_key],
                known_hosts=([host_key.convert_to_public()], [], []),
                config=None,
            ),
        )
        async with client:
            result = await asyncio.wait_for(client.run("cat", input=blob, encoding=None), 120)
            assert result.exit_status == 7
            assert result.stdout == blob
            assert result.stderr == hashlib.sha256(blob).hexdigest().encode()
        await asyncio.wait_for(server.wait_closed(), 60)
        await asyncio.wait_for(asyncio.gather(device_leg.wait_closed(), console_leg.wait_closed()), 60)


async def test_why_asyncssh_disconnected_reaches_the_other_side() -> None:
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    async with two_legs() as (device_leg, console_leg):
        server = asyncio.ensure_future(
            asyncssh.connect_reverse("console", 22, tunnel=device_leg, server_host_keys=[host_key])
        )
        with pytest.raises(asyncssh.PermissionDenied):
            await asyncio.wait_for(
                asyncssh.connect(
                    "device",
                    22,
                    tunnel=console_leg,
                    username="admin",
                    client_keys=[asyncssh.generate_private_key("ssh-ed25519")],
                    known_hosts=None,
                    config=None,
                ),
                60,
            )
        with pytest.raises((asyncssh.Error, OSError)):
            await asyncio.wait_for(server, 60)


async def test_whoever_waits_for_a_leg_is_let_go_when_every_task_is_cancelled() -> None:
    """As asyncio.run does at its end: a program that is interrupted must not hang on a leg that nobody watches."""
    before = asyncio.all_tasks()
    async with two_legs() as (one, _):
        waiting = asyncio.create_task(one.wait_closed())
        for task in asyncio.all_tasks() - before - {waiting}:
            if "_watch_end" in repr(task):
                task.cancel()
        await asyncio.wait_for(waiting, 60)
