"""One forwarded connection: bytes between an SSH channel and a socket that the supervisor connected.

The child resolves nothing and dials nothing but its leg. Each direction ends by itself, as in TCP.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

import asyncssh

from agent.session.child_channel import Surroundings
from agent.session.child_pump import SMALL_CHUNK_BYTES, Sink, Source
from agent.session.ipc import Denied, Exited
from protocol.errors import BadMessage

UNREACHABLE = frozenset({"no_such_host", "no_answer", "not_connected"})


class Forward(asyncssh.SSHTCPSession[bytes]):
    """A `direct-tcpip` channel. number: its name between child and supervisor."""

    def __init__(self, number: int, around: Surroundings, closed: Callable[[int], None]) -> None:
        self.number = number
        self._around = around
        self._closed = closed
        self._socket: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._room = asyncio.Event()
        self._room.set()
        self._source: Source | None = None
        self._pumping: asyncio.Task[None] | None = None
        self._input_ended = asyncio.Event()
        self._output_ended = False

    @property
    def connected(self) -> bool:
        return self._socket.done()

    async def ready(self) -> Forward:
        """Return when the connection stands. Raises asyncssh.ChannelOpenError with the supervisor's reason."""
        try:
            await self._socket
        except BaseException:
            self._closed(self.number)
            raise
        return self

    # -- what the supervisor answers --------------------------------------------------------------------------------

    def opened(self, descriptors: tuple[int, ...]) -> None:
        """descriptors: the socket; ours to close."""
        if len(descriptors) == 1 and not self._socket.done():
            self._socket.set_result(descriptors[0])
            return
        for fd in descriptors:
            os.close(fd)

    def denied(self, message: Denied) -> None:
        unreachable = message.code in UNREACHABLE
        code = asyncssh.OPEN_CONNECT_FAILED if unreachable else asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
        text = f"{message.message}. {message.hint}" if message.hint else message.message
        if not self._socket.done():
            self._socket.set_exception(asyncssh.ChannelOpenError(code, text))

    def exited(self, message: Exited) -> None:
        raise BadMessage("a forward has no process that could exit")

    # -- what asyncssh calls ------------------------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._chan = chan
        chan.set_write_buffer_limits(high=0, low=0)
        self._sink = Sink(chan.pause_reading, chan.resume_reading)

    def session_started(self) -> None:
        fd = self._socket.result()
        self._sink.open(os.dup(fd), terminal=False, finish=_half_close)
        self._source = Source(fd, terminal=False, chunk_bytes=SMALL_CHUNK_BYTES)
        self._pumping = asyncio.get_running_loop().create_task(self._pump(self._source))

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._sink.feed(data)
        if self._sink.closed and self._output_ended:
            self._chan.close()  # the other side is gone in both directions

    def eof_received(self) -> bool:
        self._sink.feed_end()
        self._input_ended.set()
        return True

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        if self._pumping is not None:
            self._pumping.cancel()
        elif self._socket.done() and not self._socket.cancelled() and self._socket.exception() is None:
            os.close(self._socket.result())
        self._closed(self.number)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _pump(self, source: Source) -> None:
        try:
            await source.pump(self._chan.write, self._has_room)
            self._output_ended = True
            if not self._chan.is_closing():
                self._chan.write_eof()
            if not self._sink.closed:
                await self._input_ended.wait()
        except (asyncssh.Error, OSError):
            pass  # reset by either side: what was delivered was delivered
        finally:
            self._chan.close()
            self._sink.close()
            source.close()

    async def _has_room(self) -> None:
        await self._room.wait()
        await self._around.leg_writable()


def _half_close(fd: int) -> None:
    with socket.socket(fileno=os.dup(fd)) as ours:
        ours.shutdown(socket.SHUT_WR)
