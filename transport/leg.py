"""One side of a session at the relay, as a transport that SSH runs on.

A leg is a WebSocket. The relay says in text that we wait, are refused, or are spliced to the other leg; from then on
every binary message is a frame of protocol.stream from or to the far end. To asyncssh a Leg is a `tunnel=`; to
anything else it is an asyncio Transport under a Protocol. This module decides nothing about SSH and does not import
it.

Memory is bounded at both ends: the far end may send a window more than our protocol has taken, and whoever feeds us
awaits `Leg.writable` first. asyncssh does not heed pause_writing, so its pumps must; what it answers by itself, to a
far end that asks and does not read, is bounded by MAX_BACKLOG_BYTES, at which the leg ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from protocol import leg as leg_messages
from protocol.errors import AuxilioError, BadMessage, PeerFault
from protocol.ids import SessionId
from protocol.stream import ACK_DELAY_S, MAX_DATA_BYTES, Stream
from transport.fragments import Message
from transport.leg_dial import SPLICE_WITHIN_S, dial_leg
from transport.leg_transport import HIGH_WATER_BYTES, LOW_WATER_BYTES, Deaf, LegTransport
from transport.relay_address import RelayAddress
from transport.resuming import LOOK_S, Resuming, Silence, may_go_on
from transport.websocket import ABNORMAL, NORMAL, PROTOCOL_ERROR, Closed, Connection, ConnectionEnded

P = TypeVar("P", bound=asyncio.Protocol)

MAX_BACKLOG_BYTES = 16 * 1024 * 1024
"""The most that may wait in spite of that. A far end that makes us answer so much and reads nothing is hostile."""

FLUSH_WITHIN_S = 30.0
"""After `close`, for the far end to take what was written."""

ABORT_WITHIN_S = 2.0
"""After `abort`, likewise. asyncssh aborts its transport right after it wrote its last message, which says why."""


async def open_leg(
    address: RelayAddress,
    session: SessionId,
    ticket: str,
    *,
    on_waiting: Callable[[leg_messages.Waiting], None] | None = None,
    splice_timeout_s: float = SPLICE_WITHIN_S,
    resuming: Resuming | None = None,
) -> Leg:
    """Dial a leg of `session` and return it when it is spliced to the other one. resuming: how it is dialled again."""
    connection = await dial_leg(address, session, ticket, on_waiting=on_waiting, splice_timeout_s=splice_timeout_s)
    return Leg(connection, resuming)


class Leg:
    """A spliced leg: asyncssh's `tunnel=`. It serves one connection of one protocol, over as many connections to relays
    as it takes."""

    def __init__(self, connection: Connection, resuming: Resuming | None = None) -> None:
        """resuming: None ends the leg with its first connection."""
        self._connection = connection
        self._resuming = resuming
        self._redialling: asyncio.Task[Connection] | None = None
        self._silence = Silence()
        self._stream = Stream()
        self._transport: LegTransport | None = None
        self._protocol: asyncio.Protocol | None = None
        self._held = bytearray()  # received and not taken by the protocol; at most a window
        self._reading = True
        self._eof_told = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._ack_timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self._leaving = False
        self._ended = asyncio.Event()
        self.error: AuxilioError | None = None
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.create_task(self._watch_end())
        self._listening = None if resuming is None else self._loop.create_task(self._watch_silence())
        connection.listen(self._on_message, self._pump)

    # -- for whoever uses the leg -----------------------------------------------------------------------------

    async def create_connection(
        self, protocol_factory: Callable[[], P], host: str = "", port: int = 0
    ) -> tuple[LegTransport, P]:
        """Put a protocol on the leg, as loop.create_connection and asyncssh's tunnels do. Once.

        host, port: what the protocol is told that it is connected to.
        """
        if self._transport is not None or self._closing:
            raise ConnectionError("the leg is in use or closed")
        protocol = protocol_factory()
        self._transport = LegTransport(self, (host, port))
        self._protocol = protocol
        protocol.connection_made(self._transport)
        self._loop.call_soon(self._deliver)
        if self._ended.is_set():
            self._loop.call_soon(self._tell_lost)
        return self._transport, protocol

    @property
    def is_writable(self) -> bool:
        return self._writable.is_set()

    async def writable(self) -> None:
        """Return when the leg takes more, or when it has ended. Every pump awaits it before it hands data to SSH."""
        await self._writable.wait()

    @property
    def ended(self) -> str | None:
        """None while it lives; then why it ended, for people."""
        closed = self._connection.closed
        if closed is None or not self._ended.is_set():
            return None
        return self.error.message if self.error is not None else closed.reason or "closed"

    @property
    def is_away(self) -> bool:
        """Its connection is lost, and it is being dialled again."""
        return self._redialling is not None

    def doubt(self) -> None:
        """The network changed: ask whether the connection still stands, and wait less long for an answer."""
        self._silence.doubt()
        self._connection.ping()

    def drop(self) -> None:
        """The far end begins a new leg, so this connection is of no more use, whatever it looks like."""
        if not self.is_away:
            self._connection.abort()

    def leave(self) -> None:
        """Say what was written, and do not wait for the far end to take it."""
        self._leaving = True
        self._close(ABORT_WITHIN_S)
        self._pump()

    def close(self) -> None:
        """Say nothing more; end when the far end has taken what was written, or after FLUSH_WITHIN_S."""
        self._close(FLUSH_WITHIN_S)

    def abort(self) -> None:
        """The same, but within ABORT_WITHIN_S."""
        self._close(ABORT_WITHIN_S)

    async def wait_closed(self) -> None:
        await self._ended.wait()

    # -- out ----------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._ended.is_set():
            return  # as a TCP transport does once its connection is lost
        self._stream.write(data)
        self._pump()
        if self._stream.backlog > MAX_BACKLOG_BYTES:
            self._fail(PeerFault("the far end of the session does not read", code="far_end_stalled"))

    def finish(self) -> None:
        """Half-close: nothing follows, but the far end may still speak."""
        self._stream.finish()
        self._pump()

    @property
    def backlog(self) -> int:
        return self._stream.backlog

    def _pump(self) -> None:
        if not self.is_away:
            while self._connection.is_writable and (frame := self._stream.next_frame()) is not None:
                self._connection.send_binary(frame)
        self._heed_backlog()
        said = self._stream.all_said if self._leaving else self._stream.all_taken
        if self._closing and said:
            self._connection.close(NORMAL, "done")

    def _heed_backlog(self) -> None:
        backlog = self._stream.backlog
        if backlog > HIGH_WATER_BYTES and self._writable.is_set():
            self._writable.clear()
            if self._protocol is not None:
                self._protocol.pause_writing()
        elif backlog <= LOW_WATER_BYTES and not self._writable.is_set():
            self._writable.set()
            if self._protocol is not None:
                self._protocol.resume_writing()

    # -- in -----------------------------------------------------------------------------------------------------

    def _on_message(self, message: Message) -> None:
        """A PeerFault raised here ends the connection, and through it the leg."""
        if isinstance(message, str):
            raise BadMessage("the relay spoke in the middle of a session")
        data = self._stream.receive(message)
        if data:
            if self._reading and not self._held and self._protocol is not None:
                self._hand_over(bytes(data))
            else:
                self._held += data
        if self._stream.peer_finished:
            self._deliver()
        self._pump()

    def set_reading(self, reading: bool) -> None:
        """Whether the protocol wants data now. While it does not, the far end fills its window and waits."""
        self._reading = reading
        if reading:
            self._loop.call_soon(self._deliver)

    @property
    def is_reading(self) -> bool:
        return self._reading

    def _deliver(self) -> None:
        """Hand over what is held, as long as it is wanted; then the end of the stream, if it has come."""
        while self._held and self._reading and self._protocol is not None:
            piece = bytes(self._held[:MAX_DATA_BYTES])
            del self._held[:MAX_DATA_BYTES]
            self._hand_over(piece)
        if self._stream.peer_finished and not self._held and self._protocol is not None and not self._eof_told:
            self._eof_told = True
            if not self._protocol.eof_received():
                self.close()
        self._pump()

    def _hand_over(self, data: bytes) -> None:
        assert self._protocol is not None
        try:
            self._protocol.data_received(data)
        except Exception as exc:
            context = {"message": "a protocol failed on a leg", "exception": exc, "protocol": self._protocol}
            self._loop.call_exception_handler(context)
            self.abort()
        self._stream.consumed(len(data))
        if self._stream.ack_pending and self._ack_timer is None:
            self._ack_timer = self._loop.call_later(ACK_DELAY_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._ack_timer = None
        self._stream.acknowledge()
        self._pump()

    # -- the end ------------------------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        return self._closing or self._ended.is_set()

    def _close(self, within_s: float) -> None:
        if self._ended.is_set():
            return
        if not self._closing:
            self._closing = True
            self._protocol = Deaf(self._protocol)
            self._stream.finish()
        when = self._loop.time() + within_s
        if self._flush_timer is None or self._flush_timer.when() > when:
            if self._flush_timer is not None:
                self._flush_timer.cancel()
            self._flush_timer = self._loop.call_at(when, self._give_up)
        self._reading = True
        self._loop.call_soon(self._deliver)

    def _give_up(self) -> None:
        """What was written is not taken in time."""
        if self._redialling is not None:
            self._redialling.cancel()
        self._connection.close(NORMAL, "done")

    def _fail(self, fault: PeerFault) -> None:
        self.error = fault
        self._connection.close(PROTOCOL_ERROR, fault.message)

    async def _watch_end(self) -> None:
        closed = Closed(ABNORMAL, "")
        try:
            while True:
                closed = await self._connection.wait_closed()
                if not self._goes_on(closed) or not await self._resume():
                    break
        finally:
            self._end(closed)  # also where the program is ended, and every task with it: somebody waits for this one

    def _end(self, closed: Closed) -> None:
        self._connection.abort()
        whole = self._closing or (self._stream.peer_finished and closed.code == NORMAL)
        self.error = self.error or self._connection.fault or (None if whole else ConnectionEnded(closed))
        for handle in (self._ack_timer, self._flush_timer, self._listening):
            if handle is not None:
                handle.cancel()
        self._ended.set()
        self._writable.set()
        self._tell_lost()

    def _tell_lost(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            self._loop.call_soon(protocol.connection_lost, self.error)

    # -- another connection -------------------------------------------------------------------------------------

    def _goes_on(self, closed: Closed) -> bool:
        """Whether the connection was lost, and not ended by somebody."""
        if self._resuming is None or self.error is not None or self._connection.fault is not None:
            return False
        if self._closing and (self._leaving or self._stream.all_taken or self._stream.peer_finished):
            return False  # nobody is left who would hear, or who would speak
        return may_go_on(closed.code)

    async def _resume(self) -> bool:
        """Whether there is a new connection, on which the stream goes on."""
        assert self._resuming is not None
        self._redialling = self._loop.create_task(self._resuming.redial())
        if not self._closing:  # else nobody waits for more than the end
            self._resuming.on_away()
        await asyncio.wait((self._redialling,))
        redialled, self._redialling = self._redialling, None
        if redialled.cancelled():
            return False
        error = redialled.exception()
        if error is not None:
            if not isinstance(error, AuxilioError):
                raise error
            self.error = error
            return False
        self._connection, self._silence = redialled.result(), Silence()
        self._connection.send_binary(self._stream.rejoin())
        self._resuming.on_back()
        self._connection.listen(self._on_message, self._pump)
        return True

    async def _watch_silence(self) -> None:
        """End a connection that is there and says nothing, although it was asked: sockets tell that after minutes."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self.is_away:
                continue
            verdict = self._silence.look(self._connection.heard())
            if verdict == "ask":
                self._connection.ping()
            elif verdict == "dead":
                self._connection.abort()
