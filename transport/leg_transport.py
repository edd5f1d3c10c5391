"""A leg as asyncio knows transports, for whatever protocol is put on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transport.leg import Leg

HIGH_WATER_BYTES = 256 * 1024
"""Of written bytes that the window or the socket does not take yet: from here on `writable` waits."""

LOW_WATER_BYTES = 64 * 1024


class Deaf(asyncio.Protocol):
    """In place of a protocol that closed: takes what still comes, so that the far end is not stuck in its window."""

    def __init__(self, protocol: asyncio.BaseProtocol | None) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(exc)


class LegTransport(asyncio.Transport):
    """A Leg as asyncio knows transports."""

    def __init__(self, leg: Leg, peername: tuple[str, int]) -> None:
        # No `socket`: what is at its other end is the relay, and its options are none of the protocol's business.
        super().__init__({"peername": peername, "sockname": ("", 0)})
        self._leg = leg

    def get_protocol(self) -> asyncio.BaseProtocol:
        raise NotImplementedError("a leg's protocol is whoever was given this transport")

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        raise NotImplementedError("a leg keeps its protocol")

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._leg.write(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._leg.finish()

    def get_write_buffer_size(self) -> int:
        return self._leg.backlog

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (LOW_WATER_BYTES, HIGH_WATER_BYTES)

    def pause_reading(self) -> None:
        self._leg.set_reading(False)

    def resume_reading(self) -> None:
        self._leg.set_reading(True)

    def is_reading(self) -> bool:
        return self._leg.is_reading

    def is_closing(self) -> bool:
        return self._leg.is_closing

    def close(self) -> None:
        self._leg.close()

    def abort(self) -> None:
        self._leg.abort()
