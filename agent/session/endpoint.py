"""One end of the socketpair between supervisor and child: whole packets, bounded, with descriptors beside them."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from agent.session.ipc import MAX_IPC_BYTES
from protocol.codec import Record, decode, encode
from protocol.errors import BadMessage, Unavailable

MAX_DESCRIPTORS = 3
MAX_QUEUED = 256
"""Packets that wait for a reader. A child that does not read this many is stuck, and is ended."""


class Send(Protocol):
    """What sends to the other side; see Endpoint.send."""

    def __call__(self, message: Record, descriptors: Sequence[int] = ()) -> None: ...


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
