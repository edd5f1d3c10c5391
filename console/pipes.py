"""Standard input and output that are nobody's but ours: a ProxyCommand's two pipes to ssh. Without threads.

console.pump serves whatever they may be, by a thread each, and a thread's every turn costs as much as its bytes. These
two may be made non-blocking, since no other process reads or writes at our ends of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable

CHUNK_BYTES = 256 * 1024
HIGH_BYTES = 1024 * 1024
"""Output that waits for ssh: from here on, nothing is taken from the leg."""

Heed = Callable[[bool], None]


def may_wait_in_loop(descriptor: int) -> bool:
    """Whether epoll and its kin wait for `descriptor`: a pipe or a socket, and not on Windows."""
    mode = os.fstat(descriptor).st_mode
    return sys.platform != "win32" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What can be read, until its end. An error of reading is an end, as for every filter."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    os.set_blocking(descriptor, False)
    while True:
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            readable.clear()
            loop.add_reader(descriptor, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(descriptor)
            continue
        except OSError:
            return
        if not data:
            return
        yield data
        await asyncio.sleep(0)  # a sender without pause must not starve the other direction


class Output:
    """Writes to a descriptor in order; see console.pump.Output, whose kin it is."""

    def __init__(self, descriptor: int, on_room: Heed = lambda room: None) -> None:
        self._descriptor = descriptor
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        self._pending = bytearray()
        self._full = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.broken: OSError | None = None
        self.on_broken: Callable[[OSError], None] = lambda error: None
        os.set_blocking(descriptor, False)
        _widen(descriptor)

    def write(self, data: bytes) -> None:
        if not data or self.broken is not None:
            return
        if not self._pending:
            done = self._write_now(data)
            if done == len(data):
                return
            data = data[done:]
            self._idle.clear()
            self._loop.add_writer(self._descriptor, self._on_writable)
        self._pending += data
        if not self._full and len(self._pending) >= HIGH_BYTES:
            self._full = True
            self._on_room(False)

    def _write_now(self, data: bytes | bytearray) -> int:
        """Write what goes at once; return how much of `data` is done with."""
        done = 0
        with memoryview(data) as view:
            try:
                while done < len(view):
                    done += os.write(self._descriptor, view[done:])
            except BlockingIOError:
                pass
            except OSError as exc:
                self.broken = exc
                self.on_broken(exc)
                return len(view)
        return done

    def _on_writable(self) -> None:
        del self._pending[: self._write_now(self._pending)]
        if not self._pending:
            self._loop.remove_writer(self._descriptor)
            self._idle.set()
        if self._full and len(self._pending) < HIGH_BYTES // 2:
            self._full = False
            self._on_room(True)

    async def drain(self) -> None:
        """Return when everything is written, or nothing can be any more."""
        await self._idle.wait()


def _widen(pipe: int) -> None:
    """Let a pipe hold a megabyte: ssh then reads more at a time, and we write less often (pipe(7))."""
    with contextlib.suppress(ImportError, OSError, AttributeError):  # not POSIX; a socket; not Linux
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, HIGH_BYTES)
