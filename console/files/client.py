"""SFTP's client end over any pair of pipes: requests out in order, many at once, each reply to whoever asked.

It knows packets, not files. What a device may do to it is bounded: a reply that nobody waits for ends the
conversation, and so does a packet that is too long; what is in flight is bounded by whoever asks (Budget).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Protocol

from protocol.errors import AuxilioError, BadMessage, PeerFault, Refused, Unavailable
from protocol.sftp import VERSION_3, Kind, Packet, Packets, Status, packet, read_status
from protocol.sshwire import Reader
from protocol.text import escape

IN_FLIGHT_BYTES = 16 * 1024 * 1024
"""Of file data asked for or sent and not yet confirmed: the channel's window, and so our memory."""

BATCH_BYTES = 64 * 1024
"""Small requests are joined up to this, since each write costs a packet and its encryption."""

MAX_EXTENSIONS = 64
MAX_SAID_CHARS = 200


class Wire(Protocol):
    """Where requests go. write: takes all of it, at once.  writable: returns when it should have more."""

    def write(self, data: bytes) -> None: ...

    async def writable(self) -> None: ...


class SftpFailure(Refused):
    """A STATUS that is not OK. status: of protocol.sftp.Status."""

    def __init__(self, status: int, message: str) -> None:
        words = {Status.NO_SUCH_FILE: "no such file", Status.PERMISSION_DENIED: "permission denied"}
        said = words.get(status) or escape(message, limit=MAX_SAID_CHARS) or "it failed there"
        super().__init__(said, code="no_such_file" if status == Status.NO_SUCH_FILE else "refused_there", hint="")
        self.status = status


class Client:
    """One conversation. `run` has to run while it lasts; `feed` gets what the device sends, `lose` its end."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._packets = Packets()
        self._pending: dict[int, asyncio.Future[Packet]] = {}
        self._version: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        self._next = 0
        self._outbox: deque[bytes] = deque()
        self._ready = asyncio.Event()
        self._error: AuxilioError | None = None
        self.extensions: frozenset[bytes] = frozenset()

    async def begin(self) -> None:
        """Agree on version 3, and learn the extensions. Raises PeerFault, or what `lose` was told."""
        self._send(packet(Kind.INIT, VERSION_3))
        version = await self._version
        if version.number != VERSION_3:
            raise PeerFault(f"the device speaks version {version.number} of SFTP, not 3", code="sftp_version")
        reader = Reader(version.body)
        names: list[bytes] = []
        while reader.remaining and len(names) < MAX_EXTENSIONS:
            names.append(reader.string())
            reader.string()
        self.extensions = frozenset(names)

    def ask(self, kind: int, *fields: bytes | memoryview) -> asyncio.Future[Packet]:
        """Send a request after those before it; the reply, of whatever kind. Raises what ended the conversation."""
        if self._error is not None:
            raise self._error
        future: asyncio.Future[Packet] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_look)
        self._next = (self._next + 1) & 0xFFFFFFFF  # far more than may be in flight
        self._pending[self._next] = future
        self._send(packet(kind, self._next, *fields))
        return future

    def _send(self, data: bytes) -> None:
        self._outbox.append(data)
        self._ready.set()

    async def run(self) -> None:
        """Write what was asked, as fast as the wire takes it; for ever."""
        while True:
            await self._ready.wait()
            await self._wire.writable()
            if self._outbox:
                self._write(self._batch())
            if not self._outbox:
                self._ready.clear()

    def _write(self, data: bytes) -> None:
        try:
            self._wire.write(data)
        except OSError as exc:
            self.lose(session_lost(exc.strerror or "the device closed it"))

    def _batch(self) -> bytes:
        first = self._outbox.popleft()
        if len(first) >= BATCH_BYTES or not self._outbox:
            return first
        batch, size = [first], len(first)
        while self._outbox and size + len(self._outbox[0]) <= BATCH_BYTES:
            batch.append(self._outbox.popleft())
            size += len(batch[-1])
        return b"".join(batch)

    # -- from the device ----------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Raises nothing: nonsense ends the conversation, for everybody who waits."""
        if self._error is not None:
            return
        try:
            for reply in self._packets.feed(data):
                self._take(reply)
        except BadMessage as exc:
            self.lose(BadMessage(f"the device breaks SFTP: {exc.message}", code=exc.reason))

    def _take(self, reply: Packet) -> None:
        if reply.kind == Kind.VERSION and not self._version.done():
            self._version.set_result(reply)
            return
        future = self._pending.pop(reply.number, None)
        if future is None:
            raise BadMessage("a reply that nobody asked for", code="unasked_reply")
        if not future.done():
            future.set_result(reply)

    def lose(self, error: AuxilioError) -> None:
        """The conversation is over; everybody who waits gets `error`, and whoever asks later."""
        if self._error is not None:
            return
        self._error = error
        waiting = [self._version, *self._pending.values()]
        self._pending.clear()
        self._outbox.clear()
        self._ready.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                _look(future)

    @property
    def lost(self) -> bool:
        return self._error is not None


def _look(future: asyncio.Future[Packet]) -> None:
    """Of ten requests in flight the first failure is told; the others need no complaint in a log."""
    if not future.cancelled():
        future.exception()


async def reply_of(kind: int, asked: Awaitable[Packet]) -> Reader:
    """The body of a reply of `kind`. Raises SftpFailure for a refusal, BadMessage for anything else."""
    reply = await asked
    if reply.kind == kind:
        return Reader(reply.body)
    if reply.kind != Kind.STATUS:
        raise BadMessage(f"the device breaks SFTP: a reply of kind {reply.kind}", code="wrong_reply")
    status, message = read_status(Reader(reply.body))
    raise SftpFailure(status, message)


async def done(asked: Awaitable[Packet]) -> None:
    """Return when the request was served. Raises like reply_of."""
    status, message = read_status(await reply_of(Kind.STATUS, asked))
    if status != Status.OK:
        raise SftpFailure(status, message)


def session_lost(why: str) -> Unavailable:
    return Unavailable(f"the session ended: {why}", code="session_lost", hint="")


class Budget:
    """So many bytes in flight, first come first served. One that is larger than all waits until nothing else is."""

    def __init__(self, size: int = IN_FLIGHT_BYTES) -> None:
        self._size = self._left = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[None]:
        count = min(count, self._size)
        if self._waiting or count > self._left:
            await self._wait(count)
        else:
            self._left -= count
        try:
            yield
        finally:
            self._give(count)

    async def _wait(self, count: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(count)  # it was ours already
            raise

    def _give(self, count: int) -> None:
        self._left += count
        while self._waiting:
            wanted, turn = self._waiting[0]
            if turn.done():  # cancelled while it waited
                self._waiting.popleft()
                continue
            if wanted > self._left:
                return
            self._waiting.popleft()
            self._left -= wanted
            turn.set_result(None)
