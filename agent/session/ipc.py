"""What the supervisor and a session's child say to each other, over one socketpair of AF_UNIX SEQPACKET.

JSON, one message a packet, told apart by `type`; descriptors travel beside a message (SCM_RIGHTS), from the
supervisor to the child only. The supervisor holds the device key and the right to be anybody; the child holds the
network and the SSH parser. So the supervisor treats the child as a stranger: bounded, typed, and a message that is
out of turn ends the session.

    child                               supervisor
      |  Ready -------------------------->  |   everything is imported, privilege is gone
      |  <-------------------------- Start  |   what to dial, which key to admit, which host key to show
      |  Joined ------------------------->  |   both legs are spliced; SSH begins
      |  Sign --------------------------->  |   the exchange hash, once
      |  <------------------------- Signed  |
      |  Authenticated ------------------>  |
      |  Open --------------------------->  |   per channel: checked against the policy as it is now
      |  <----------- Opened + descriptors  |   or Denied
      |  Signal, Hangup -> ... <--- Exited  |
      |  <------------------------- Finish  |   say why, then leave
      |  Leaving ------------------------>  |
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import re
import socket
from collections import deque
from collections.abc import Sequence

from protocol.codec import Record, decode, encode
from protocol.errors import BadMessage, Unavailable
from transport.proxy import Proxy

MAX_IPC_BYTES = 128 * 1024
"""One packet: below Linux's default socket buffer (208 KiB), above a long command in JSON."""

MAX_COMMAND_CHARS = 64 * 1024
"""Of one exec request. Linux takes 128 KiB in one argument; JSON may need twice the characters."""

MAX_DESCRIPTORS = 3
MAX_MODES = 64
MAX_ENVIRONMENT = 32
MAX_QUEUED = 256
"""Packets that wait for a reader. A child that does not read this many is stuck, and is ended."""

HASH_SIZES = frozenset({32, 48, 64})
"""Exchange hashes are SHA-256, SHA-384 or SHA-512. An SSHSIG to be signed is never this short."""

REFUSED_STATUS = 254
"""Exit status of a channel that was refused: below ssh's own 255, above what programs use."""


class Terminal(Record, frozen=True, kw_only=True):
    """A pseudo-terminal as the client asked for it (RFC 4254, 6.2). Sizes in characters and pixels, 0: unknown.

    modes: (opcode, value) of RFC 4254 section 8, at most MAX_MODES.
    """

    name: str
    columns: int
    rows: int
    width: int
    height: int
    modes: tuple[tuple[int, int], ...] = ()


# -- child to supervisor ------------------------------------------------------------------------------------------


class Ready(Record, frozen=True, kw_only=True, tag="ready"):
    pass


class Joined(Record, frozen=True, kw_only=True, tag="joined"):
    pass


class Sign(Record, frozen=True, kw_only=True, tag="sign"):
    """exchange_hash: of HASH_SIZES bytes."""

    exchange_hash: bytes


class Authenticated(Record, frozen=True, kw_only=True, tag="authenticated"):
    """The client proved the one key that is admitted. client: its version line, for the log."""

    client: str


class Open(Record, frozen=True, kw_only=True, tag="open"):
    """A client's request for a process. kind: "shell" or "exec".  command: of an exec."""

    channel: int
    kind: str
    command: str | None
    terminal: Terminal | None
    environment: dict[str, str]


class TurnedDown(Record, frozen=True, kw_only=True, tag="turned_down"):
    """The child said no by itself to something that this release never serves: for the log. what: "forward", ..."""

    what: str
    detail: str


class Signal(Record, frozen=True, kw_only=True, tag="signal"):
    """name: of RFC 4254 section 6.10, without SIG."""

    channel: int
    name: str


class Hangup(Record, frozen=True, kw_only=True, tag="hangup"):
    """The channel is closed: its process has nobody to talk to."""

    channel: int


class Leaving(Record, frozen=True, kw_only=True, tag="leaving"):
    """The child's last words. reason: closed, lost or failed."""

    reason: str
    message: str


# -- supervisor to child ------------------------------------------------------------------------------------------


class Start(Record, frozen=True, kw_only=True, tag="start"):
    """relay_url, pin: as in the policy.  proxy: to dial it through.  host_key, admitted_key: SSH public key blobs.

    session: names the leg.  ticket: bearer for it.  max_channels: at one time.
    """

    relay_url: str
    pin: str | None
    session: str
    ticket: str
    host_key: bytes
    admitted_key: bytes
    max_channels: int
    proxy: Proxy | None = None


class Signed(Record, frozen=True, kw_only=True, tag="signed"):
    """signature: SSH signature blob by the device key."""

    signature: bytes


class Opened(Record, frozen=True, kw_only=True, tag="opened"):
    """Beside it: the terminal's master, or standard input, output and error of the process."""

    channel: int


class Denied(Record, frozen=True, kw_only=True, tag="denied"):
    channel: int
    code: str
    message: str
    hint: str


class Exited(Record, frozen=True, kw_only=True, tag="exited"):
    """status: 0-255, or None where `signal` (without SIG) ended the process."""

    channel: int
    status: int | None
    signal: str | None
    core_dumped: bool


class Finish(Record, frozen=True, kw_only=True, tag="finish"):
    """The session is over. message: for the technician."""

    reason: str
    message: str


FromChild = Ready | Joined | Sign | Authenticated | Open | TurnedDown | Signal | Hangup | Leaving
ToChild = Start | Signed | Opened | Denied | Exited | Finish


def decode_from_child(packet: bytes) -> FromChild:
    """Raises BadMessage; the child is a stranger."""
    message: FromChild = decode(packet, FromChild, limit=MAX_IPC_BYTES)  # type: ignore[arg-type]  # a union
    if isinstance(message, Sign) and len(message.exchange_hash) not in HASH_SIZES:
        raise BadMessage("what is to be signed is no exchange hash")
    if isinstance(message, Open):
        _check_open(message)
    return message


TERMINAL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")
"""Names of terminfo entries; one with a slash in it would be a path (terminfo(5))."""

LOCALE_NAME = re.compile(r"(LANG|LANGUAGE|LC_[A-Z]{1,32})\Z")
LOCALE_VALUE = re.compile(r"[A-Za-z0-9@._:-]{1,64}\Z")
"""What a client may set, as in Debian's sshd_config (AcceptEnv LANG LC_*). No slash: glibc would take it as a path.

The child leaves out what is something else; that the supervisor believes no child is what keeps LD_PRELOAD away from a
process that starts with the agent's privilege."""


def _check_open(message: Open) -> None:
    if message.kind not in ("shell", "exec") or (message.kind == "exec") != (message.command is not None):
        raise BadMessage("neither a shell nor a command")
    if message.command is not None and (len(message.command) > MAX_COMMAND_CHARS or "\0" in message.command):
        raise BadMessage("the command is too long, or contains a NUL")
    if len(message.environment) > MAX_ENVIRONMENT:
        raise BadMessage("too large an environment")
    if not all(LOCALE_NAME.match(name) and LOCALE_VALUE.match(value) for name, value in message.environment.items()):
        raise BadMessage("an environment of more than a locale")
    if message.terminal is not None and not TERMINAL_NAME.match(message.terminal.name):
        raise BadMessage("no name of a terminal")
    if message.terminal is not None and len(message.terminal.modes) > MAX_MODES:
        raise BadMessage("too many terminal modes")


def decode_to_child(packet: bytes) -> ToChild:
    message: ToChild = decode(packet, ToChild, limit=MAX_IPC_BYTES)  # type: ignore[arg-type]  # a union
    return message


# -- the socket -----------------------------------------------------------------------------------------------------


class Endpoint:
    """One end of the socketpair. One task receives; anybody sends. Never blocks, but for `exchange`."""

    def __init__(self, sock: socket.socket, *, descriptors: bool) -> None:
        """descriptors: whether any are taken from the other side; else the kernel closes what it sends."""
        sock.setblocking(False)
        self._sock = sock
        self._descriptors = descriptors
        self._queue: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._backlog: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._broken = False
        self._waiter: asyncio.Future[None] | None = None

    def send(self, message: Record, descriptors: Sequence[int] = ()) -> None:
        """Send, or queue, `message`. The descriptors are duplicated; the caller keeps and closes its own.

        Raises BadMessage where it is too long, Unavailable where the other side does not read. A message to a side
        that is gone is dropped: `receive` says so.
        """
        packet = encode(message)
        if len(packet) > MAX_IPC_BYTES:
            raise BadMessage(f"a packet of {len(packet)} bytes, where {MAX_IPC_BYTES} is the most")
        if self._broken:
            return
        if not self._queue and self._try(packet, tuple(descriptors)):
            return
        if len(self._queue) >= MAX_QUEUED:
            raise Unavailable("the other side of a session does not read", code="stuck")
        self._queue.append((packet, tuple(os.dup(fd) for fd in descriptors)))
        asyncio.get_running_loop().add_writer(self._sock, self._flush)

    def _try(self, packet: bytes, descriptors: tuple[int, ...]) -> bool:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._sock.sendmsg([packet], rights)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._broken = True
        return True

    def _flush(self) -> None:
        while self._queue:
            packet, descriptors = self._queue[0]
            if not self._try(packet, descriptors):
                return
            self._queue.popleft()
            _close_all(descriptors)
        asyncio.get_running_loop().remove_writer(self._sock)

    async def receive(self) -> tuple[bytes, tuple[int, ...]] | None:
        """The next packet and its descriptors, which are now the caller's to close; None: the other side is gone."""
        while not self._backlog:
            try:
                packet = self._read()
            except (BlockingIOError, InterruptedError):
                await self._readable()
                continue
            if packet is None:
                return None
            self._backlog.append(packet)
        return self._backlog.popleft()

    def _read(self) -> tuple[bytes, tuple[int, ...]] | None:
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * array.array("i").itemsize) if self._descriptors else 0
        try:
            packet, ancillary, flags, _ = self._sock.recvmsg(MAX_IPC_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return None
        received = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received.frombytes(data[: len(data) - len(data) % received.itemsize])
        if flags & socket.MSG_TRUNC:
            _close_all(received)
            raise BadMessage("a packet that is too long")
        return (packet, tuple(received)) if packet else None

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        loop.add_reader(self._sock, self._wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            loop.remove_reader(self._sock)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def exchange(self, message: Record, reply_tag: str, timeout_s: float) -> bytes:
        """Send `message` and wait, blocking the thread, for a packet of type `reply_tag`; others keep their turn.

        asyncssh asks for a host key's signature synchronously, in the middle of a key exchange.
        Raises Unavailable where there is no answer in time, or the other side is gone.
        """
        self._sock.settimeout(timeout_s)
        try:
            self._flush_blocking(encode(message))
            while True:
                packet = self._read()
                if packet is None:
                    break
                if decode(packet[0], _Tagged, limit=MAX_IPC_BYTES).type == reply_tag:
                    return packet[0]
                self._backlog.append(packet)
        except OSError as exc:
            raise Unavailable("the supervisor did not sign in time", code="no_signature") from exc
        finally:
            self._sock.setblocking(False)
            self._wake()  # what went to the backlog will not make the socket readable again
        raise Unavailable("the supervisor is gone", code="no_signature")

    def _flush_blocking(self, packet: bytes) -> None:
        while self._queue:
            queued, descriptors = self._queue.popleft()
            self._try(queued, descriptors)
            _close_all(descriptors)
        self._sock.send(packet)

    def close(self) -> None:
        """Close the socket and every descriptor that never left."""
        self._broken = True
        for _, descriptors in (*self._queue, *self._backlog):
            _close_all(descriptors)
        self._queue.clear()
        self._backlog.clear()
        with contextlib.suppress(RuntimeError, ValueError):  # no loop any more, or closed already
            loop = asyncio.get_running_loop()
            loop.remove_writer(self._sock)
            loop.remove_reader(self._sock)
        self._sock.close()


class _Tagged(Record, frozen=True, kw_only=True):
    type: str


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        os.close(fd)
