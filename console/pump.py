"""Standard input and output for asyncio, whatever they are: pipe, socket, terminal, file, /dev/null; also on Windows.

A thread each, because epoll takes no files and no platform's terminal should be made non-blocking for its other
users. Bounded: one chunk of input ahead, HIGH_BYTES of output behind.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable

CHUNK_BYTES = 128 * 1024

HIGH_BYTES = 1024 * 1024
"""Output that waits for a slow reader of ours: from here on, whoever writes has to wait."""


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What can be read, until its end. An error of reading is an end, as for every filter.

    The thread may still sit in a read when nobody wants it any more; it is a daemon and goes with the process.
    """
    loop = asyncio.get_running_loop()
    wanted = threading.Semaphore(0)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        while True:
            wanted.acquire()
            try:
                data = os.read(descriptor, CHUNK_BYTES)
            except OSError:
                data = b""
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, data)
            except RuntimeError:
                return  # the loop is closed: nobody waits
            if not data:
                return

    threading.Thread(target=read, name=f"read {descriptor}", daemon=True).start()
    while True:
        wanted.release()
        data = await arrived.get()
        if not data:
            return
        yield data


class Output:
    """Writes to a descriptor in order. on_room(False) when HIGH_BYTES wait, on_room(True) when they are written.

    broken: nobody reads there any more (EPIPE), or it is full; what comes is dropped from then on.
    """

    def __init__(self, descriptor: int, on_room: Callable[[bool], None] = lambda room: None) -> None:
        self._descriptor = descriptor
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._pending: list[bytes] = []
        self._size = 0
        self._full = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.broken: OSError | None = None
        self.on_broken: Callable[[OSError], None] = lambda error: None
        threading.Thread(target=self._write, name=f"write {descriptor}", daemon=True).start()

    def write(self, data: bytes) -> None:
        if not data or self.broken is not None:
            return
        self._idle.clear()
        with self._condition:
            self._pending.append(data)
            self._size += len(data)
            full = self._size >= HIGH_BYTES
            self._condition.notify()
        if full and not self._full:
            self._full = True
            self._on_room(False)

    async def drain(self) -> None:
        """Return when everything is written, or nothing can be any more."""
        await self._idle.wait()

    def _write(self) -> None:
        while True:
            with self._condition:
                while not self._pending:
                    self._condition.wait()
                data = b"".join(self._pending)
                self._pending.clear()
            error = self._write_all(memoryview(data))
            try:
                self._loop.call_soon_threadsafe(self._written, len(data), error)
            except RuntimeError:
                return
            if error is not None:
                return

    def _write_all(self, data: memoryview) -> OSError | None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                threading.Event().wait(0.005)  # somebody made our terminal non-blocking; there is nothing to wait on
            except OSError as exc:
                return exc
        return None

    def _written(self, count: int, error: OSError | None) -> None:
        with self._condition:
            self._size -= count
            empty = self._size == 0
        if error is not None:
            self.broken = error
            self.on_broken(error)
        if self._full and (self._size < HIGH_BYTES // 2 or error is not None):
            self._full = False
            self._on_room(True)
        if empty or error is not None:
            self._idle.set()
