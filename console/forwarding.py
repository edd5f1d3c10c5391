"""Connections to ports of this machine, carried to a device that makes them anew where it is.

    a program here --> listener --> SSH channel (direct-tcpip) --> the device's policy --> HOST:PORT as it sees it

Each direction ends by itself, as in TCP, and neither is read faster than the other side takes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import asyncssh

from console.forward_spec import Forward
from console.ssh_client import PACKET_BYTES, WINDOW_BYTES
from protocol.errors import Unavailable
from protocol.text import escape
from transport.leg import Leg

MAX_CONNECTIONS = 48
"""At one time; more wait until one is closed. A device allows a session 64, and hears a little later of an end."""

MAX_OPENING = 16
"""On the way at one time, of which a device allows 32."""

CHUNK_BYTES = 128 * 1024
HIGH_BYTES = 1024 * 1024
"""For a program here that does not read: from here on, nothing more is asked of the device."""


def listen(forward: Forward) -> socket.socket:
    """A listening socket. Raises Unavailable (cannot_listen)."""
    family = socket.AF_INET6 if ":" in forward.bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((forward.bind, forward.local_port))
        listener.listen(128)
    except OSError as exc:
        listener.close()
        raise Unavailable(
            f"cannot listen at {forward.bind} port {forward.local_port}: {exc.strerror or exc}",
            code="cannot_listen",
            hint="Another program may have the port: take another, or 0 for a free one.",
        ) from exc
    return listener


class Forwarding:
    """Serves listeners over one connection. say: for refusals, each reason once."""

    def __init__(self, connection: asyncssh.SSHClientConnection, leg: Leg, say: Callable[[str], None]) -> None:
        self._connection = connection
        self._leg = leg
        self._say = say
        self._said: set[str] = set()
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._opening = asyncio.Semaphore(MAX_OPENING)

    @contextlib.asynccontextmanager
    async def serving(self, listeners: Sequence[tuple[socket.socket, Forward]]) -> AsyncIterator[None]:
        """Accept connections for as long as the block runs."""
        async with contextlib.AsyncExitStack() as stack:
            for listener, forward in listeners:
                server = await asyncio.start_server(self._server(forward), sock=listener, limit=CHUNK_BYTES)
                stack.callback(server.close)
            yield

    def _server(self, forward: Forward) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                async with self._places:
                    await self._carry(forward, reader, writer)
            except asyncssh.ChannelOpenError as exc:
                self._tell(forward, exc.reason)
            except (asyncssh.Error, OSError):
                pass  # either side hung up
            finally:
                writer.close()

        return serve

    async def _carry(self, forward: Forward, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = _Far(writer)
        async with self._opening:
            channel, _ = await self._connection.create_connection(
                lambda: far,
                forward.host,
                forward.port,
                encoding=None,
                window=WINDOW_BYTES,
                max_pktsize=PACKET_BYTES,
            )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(far.deliver())
                while data := await reader.read(CHUNK_BYTES):
                    await self._leg.writable()
                    await far.writable()
                    channel.write(data)
                channel.write_eof()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            channel.close()

    def _tell(self, forward: Forward, reason: str) -> None:
        text = f"{forward.target}: {escape(reason, limit=300)}"
        if text not in self._said and len(self._said) < MAX_CONNECTIONS:
            self._said.add(text)
            self._say(text)


class _Far(asyncssh.SSHTCPSession[bytes]):
    """The device's side of one connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._room = asyncio.Event()
        self._room.set()
        self._full = asyncio.Event()
        self._ended = False
        self.error: Exception | None = None

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self._writer.transport.is_closing():
            self._channel.close()
            return
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > HIGH_BYTES:
            self._channel.pause_reading()
            self._full.set()

    def eof_received(self) -> bool:
        with contextlib.suppress(OSError):
            self._writer.write_eof()
        self._end()
        return True  # the other direction stays open

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        self._end()
        self._writer.close()

    async def writable(self) -> None:
        await self._room.wait()

    async def deliver(self) -> None:
        """Ask for more whenever what came was taken; return when the device's side has ended."""
        while True:
            await self._full.wait()
            await self._writer.drain()
            if self._ended:
                return
            self._full.clear()
            self._channel.resume_reading()

    def _end(self) -> None:
        self._ended = True
        self._full.set()
