"""Bytes between a process's descriptors and an SSH channel, with backpressure at the source.

asyncssh does not heed a full transport: what it is given, it keeps in memory. So nothing is read from a process
before both the channel's window and the leg have room for it, and a channel is not read while its process does not
take what is there. At most one chunk of each pump is ever on the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Awaitable, Callable

CHUNK_BYTES = 7 * 32 * 1024
"""One turn of the loop for as many of stock ssh's packets (32 KiB, and what SSH adds) as one frame of the leg holds."""

SMALL_CHUNK_BYTES = 64 * 1024
"""Of a forward, of which there may be many at once."""

LAST_WORDS_S = 0.05
"""How long a terminal stays silent after its process has exited before it counts as drained (see Source)."""


class Source:
    """What a process writes: a pipe's read end, or a terminal's master."""

    def __init__(self, fd: int, *, terminal: bool, chunk_bytes: int = CHUNK_BYTES) -> None:
        """fd: becomes ours to close."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._terminal = terminal
        self._chunk_bytes = chunk_bytes
        self._exited = asyncio.Event()

    def process_exited(self) -> None:
        """A terminal may be held open by what runs on in the background; its process's end is the end of it. A pipe
        ends with its last writer, as in sshd."""
        if self._terminal:
            self._exited.set()

    async def pump(self, write: Callable[[bytes], None], room: Callable[[], Awaitable[None]]) -> None:
        """Hand everything to `write`, each time after `room` has returned; return at the end. Closes nothing."""
        while True:
            await room()
            data = await self._read()
            if not data:
                return
            write(data)
            await asyncio.sleep(0)  # a process that is faster than the network must not starve Ctrl-C

    async def _read(self) -> bytes:
        """The next chunk; b"" at the end."""
        while True:
            try:
                return os.read(self._fd, self._chunk_bytes)
            except (BlockingIOError, InterruptedError):
                if self._exited.is_set():
                    return await self._last_words()
                await self._readable_or_exited()
            except OSError as exc:
                if exc.errno == errno.EIO:  # every slave of the terminal is closed
                    return b""
                raise

    async def _last_words(self) -> bytes:
        # What a process wrote reaches the master by way of a kernel work queue, so it may be a moment late.
        await asyncio.sleep(LAST_WORDS_S)
        try:
            return os.read(self._fd, CHUNK_BYTES)
        except OSError:
            return b""

    async def _readable_or_exited(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._fd, readable.set)
        waits = [loop.create_task(readable.wait()), loop.create_task(self._exited.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(self._fd)
            for wait in waits:
                wait.cancel()

    def close(self) -> None:
        os.close(self._fd)


class Sink:
    """What a process reads: a pipe's write end, or a terminal's master. There may be bytes before there is a process.

    pause, resume: stop and go on with what the channel delivers; between them the channel's window is the bound.
    """

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._fd: int | None = None
        self._terminal = False
        self._end_of_output: Callable[[int], None] | None = None
        self._pending = bytearray()
        self._paused = False
        self._ending = False
        self._dead = False

    def open(self, fd: int, *, terminal: bool, finish: Callable[[int], None] | None = None) -> None:
        """fd: becomes ours to close.  finish: called with it at the end, where closing it would not tell the reader."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._terminal = terminal
        self._end_of_output = finish
        self._flush()

    def feed(self, data: bytes) -> None:
        if self._dead:
            return  # the process closed its input; what is sent to it is lost, as in any pipe
        self._pending += data
        self._flush()

    def feed_end(self) -> None:
        """No more comes. A terminal is not told: its end of file is a character that the user types."""
        self._ending = True
        self._flush()

    def _flush(self) -> None:
        if self._fd is None:
            if self._pending and not self._dead:
                self._hold()
            return
        try:
            while self._pending:
                written = os.write(self._fd, memoryview(self._pending)[:CHUNK_BYTES])
                del self._pending[:written]
        except (BlockingIOError, InterruptedError):
            self._hold()
            asyncio.get_running_loop().add_writer(self._fd, self._flush)
            return
        except OSError:
            self._pending.clear()
            self.close()
            self._release()
            return
        self._release()  # which may deliver more, and come back here, before it returns
        if self._ending and not self._pending and not self._terminal:
            if self._end_of_output is not None and self._fd is not None:
                with contextlib.suppress(OSError):  # the reader is gone altogether
                    self._end_of_output(self._fd)
            self.close()

    @property
    def closed(self) -> bool:
        """No more is taken: it was ended, or what reads it is gone."""
        return self._dead

    def _hold(self) -> None:
        if not self._paused:
            self._paused = True
            self._pause()

    def _release(self) -> None:
        if self._fd is not None:
            asyncio.get_running_loop().remove_writer(self._fd)
        if self._paused:
            self._paused = False
            self._resume()

    def close(self) -> None:
        self._dead = True
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().remove_writer(fd)
        os.close(fd)
