"""Legs, and passing on what one sends to the other: nothing is kept, parsed or copied more than a socket does.

Backpressure goes through: while one side does not take, nothing is read from the other, so that what is in memory is
bounded by a few socket buffers a leg. Each leg's own coroutine passes on what that leg sends; there is no task, queue
or timer for a message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from aiohttp import WSMsgType, web

from protocol.codec import encode
from protocol.leg import MAX_LEG_MESSAGE_BYTES, LegText, Spliced
from relay.meeting import NORMAL

CLOSE_WITHIN_S = 5.0
"""For a polite close that ends a session from outside; then the connection is cut, which also frees whoever waits to
write to it."""

FLUSH_WITHIN_S = 30.0
"""The same where the other side closed in order: what it sent last is still on its way over a slow line."""

SAY_WITHIN_S = 10.0

TELLS_WITHIN_S = 5.0
"""For a side whose connection failed under a write to be known as gone."""

PING_PERIOD_S = 25.0
"""Reverse proxies and NATs forget idle connections after a minute. No answer is demanded: a leg whose reader waits
(a technician's terminal that is paused) reads no pong either, and the kernel's keepalive finds peers that are gone."""

MAX_REASON_BYTES = 120
"""A WebSocket's close reason has room for 123."""

PROTOCOL_ERROR = 1002


class Ended:
    """How a leg ended. clean: closed by its own side, with a reason."""

    __slots__ = ("clean", "reason")

    def __init__(self, clean: bool, reason: str) -> None:
        self.clean = clean
        self.reason = reason


class Leg:
    """One side's WebSocket. `run` is its life; the rest may be called from anywhere in the loop, and never waits."""

    def __init__(self, socket: web.WebSocketResponse, count_bytes: Callable[[float], None]) -> None:
        self._socket = socket
        self._count_bytes = count_bytes
        self._words: asyncio.Queue[LegText | tuple[int, str]] = asyncio.Queue()
        self._peer: Leg | None = None
        self._joined = asyncio.Event()
        self._hung_up = False
        self._told = asyncio.Event()

    # -- what the rendezvous decides ------------------------------------------------------------------------------

    def say(self, text: LegText) -> None:
        self._words.put_nowait(text)

    def join(self, peer: Leg) -> None:
        """Splice: this leg's side is told, and from then on what it sends goes to `peer`."""
        self._peer = peer
        self._words.put_nowait(Spliced())

    def hang_up(self, code: int, reason: str) -> None:
        if not self._hung_up:
            self._hung_up = True
            self._told.set()
            self._words.put_nowait((code, reason))

    # -- the leg's life -------------------------------------------------------------------------------------------

    async def run(self) -> Ended:
        """Return when the leg is gone, or was hung up."""
        async with asyncio.TaskGroup() as tasks:
            talker = tasks.create_task(self._talk())
            ended = await self._pass_on()
            # Whoever waits to send to us need not wait any more: it finds that we are gone.
            self._joined.set()
            if not self._hung_up:
                talker.cancel()
        return ended

    async def _talk(self) -> None:
        """Say what is to be said, ping while there is nothing, and hang up when that is asked."""
        while True:
            try:
                async with asyncio.timeout(PING_PERIOD_S):
                    word = await self._words.get()
            except TimeoutError:
                await self._ping()
                continue
            if isinstance(word, tuple):
                await self._close(*word)
                return
            if not await self._send_text(encode(word).decode("utf-8")):
                self._cut()
                return
            if isinstance(word, Spliced):
                # Only now: a message that overtook this word would be a fault to the side that reads it.
                self._joined.set()

    async def _send_text(self, text: str) -> bool:
        try:
            async with asyncio.timeout(SAY_WITHIN_S):
                await self._socket.send_str(text)
        except (TimeoutError, ConnectionError, RuntimeError):
            return False
        return True

    async def _ping(self) -> None:
        """One that does not go through is no fault: the side may be reading slowly."""
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(SAY_WITHIN_S):
                await self._socket.ping()

    async def _pass_on(self) -> Ended:
        socket, count_bytes = self._socket, self._count_bytes
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.BINARY:
                peer = self._peer
                if peer is None:
                    self.hang_up(PROTOCOL_ERROR, "data before the splice")
                    return Ended(False, "sent data before the splice")
                # Before our own side was told, it cannot send; before the other was told, it must not be sent to.
                if not peer._joined.is_set():
                    await peer._joined.wait()
                data = message.data
                try:
                    await peer._socket.send_bytes(data)
                except (ConnectionError, RuntimeError):
                    # The other side is gone. How, its own coroutine says, and we are hung up for it: whether it left
                    # or was lost decides over the session, so nothing is said here before that is known.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(TELLS_WITHIN_S):
                            await self._told.wait()
                    return Ended(False, "the other side left")
                count_bytes(len(data))
            elif message.type is WSMsgType.CLOSE:
                code = message.data
                clean = code in (NORMAL, 1001)
                return Ended(clean, str(message.extra or ""))
            elif message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED):
                return Ended(False, "")
            elif message.type is WSMsgType.ERROR:
                return Ended(False, "the connection broke, or sent what no leg sends")
            else:
                self.hang_up(PROTOCOL_ERROR, "text on a leg")
                return Ended(False, "sent text")

    async def _close(self, code: int, reason: str) -> None:
        seconds = FLUSH_WITHIN_S if code == NORMAL else CLOSE_WITHIN_S
        transport = self._transport()
        if transport is not None:
            asyncio.get_running_loop().call_later(seconds, transport.abort)
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(seconds):
                await self._socket.close(code=code, message=close_reason(reason))

    def _cut(self) -> None:
        transport = self._transport()
        if transport is not None:
            transport.abort()

    def _transport(self) -> asyncio.Transport | None:
        request = self._socket._req
        return None if request is None else request.transport


def close_reason(reason: str) -> bytes:
    """`reason` as the bytes of a close frame, cut between characters."""
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore").encode("utf-8")


def make_socket() -> web.WebSocketResponse:
    """The WebSocket of a leg. No compression: what passes is encrypted, and does not compress.

    aiohttp takes messages that are smaller than its bound, not as large.
    """
    return web.WebSocketResponse(max_msg_size=MAX_LEG_MESSAGE_BYTES + 1, compress=False, timeout=FLUSH_WITHIN_S)
