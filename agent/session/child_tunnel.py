"""Between asyncssh and the leg: a client that makes us answer and reads nothing is not read any further.

What our pumps write waits at `leg.writable`. What asyncssh answers by itself (to global requests, channel requests,
keepalives) does not: it writes whatever the transport's state is. So from a backlog on that no honest client can
cause, nothing is taken from the leg until the client has read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from protocol.stream import MAX_DATA_BYTES
from transport.leg import Leg

MAX_ANSWERS_BYTES = 10 * 1024 * 1024
"""Pumps together write 9 MiB at most beyond the leg's high water: a chunk for each of two streams of ten channels, and
of each forward. Holding an honest client up could be a deadlock, if its end did the same."""


class Tunnel:
    """What asyncssh takes as `tunnel=`."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg

    async def create_connection(
        self, session_factory: Callable[[], Any], host: str, port: int
    ) -> tuple[asyncio.Transport, Any]:
        transport, wary = await self._leg.create_connection(lambda: _Wary(session_factory()), host, port)
        return transport, wary.protocol

    def close(self) -> None:
        self._leg.close()

    async def wait_closed(self) -> None:
        await self._leg.wait_closed()


class _Wary(asyncio.Protocol):
    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self._transport: _Gathering | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = _Gathering(transport)
        self.protocol.connection_made(self._transport)

    def data_received(self, data: bytes) -> None:
        self.protocol.data_received(data)
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > MAX_ANSWERS_BYTES:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        assert self._transport is not None
        self._transport.resume_reading()

    def eof_received(self) -> bool | None:
        return self.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.connection_lost(exc)


class _Gathering(asyncio.Transport):
    """Writes what comes in one turn of the loop as one piece: asyncssh writes each packet by itself, and many small
    pieces cost five times their bytes in memory, and a message each on the way."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._pieces: list[bytes | bytearray | memoryview] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._pieces:
            asyncio.get_running_loop().call_soon(self._flush)
        elif self._size + len(data) > MAX_DATA_BYTES:
            self._flush()
            asyncio.get_running_loop().call_soon(self._flush)
        self._pieces.append(data)
        self._size += len(data)

    def _flush(self) -> None:
        if self._pieces:
            piece, self._size = b"".join(self._pieces), 0
            self._pieces.clear()
            self._transport.write(piece)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return self._size + self._transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._flush()  # a leg still sends what was written before: the reason of the end is in it
        self._transport.abort()
