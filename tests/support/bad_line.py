"""A line that is long and loses packets, between two network namespaces: `tc netem` for kernels without it.

    python -m tests.support.bad_line NEAR_PID NEAR_NAME FAR_PID FAR_NAME DELAY_MS JITTER_MS LOSS_PERCENT

A TAP interface in each namespace; frames wait here on their way from one to the other, in order. It prints a line when
both are there, and ends with its standard input. Source: linux/if_tun.h, setns(2).
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.netns import Namespace

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
MAX_FRAME_BYTES = 65536
MAX_WAITING = 1000
"""Frames on their way, as a router's queue has: what is beyond is lost."""


@contextmanager
def bad_line(near: Namespace, far: Namespace, name: str, *, delay_ms: int, jitter_ms: int, loss: int) -> Iterator[None]:
    """Interfaces called `name` in both, down, without addresses. delay_ms, jitter_ms, loss (percent): each way."""
    command = [sys.executable, "-m", "tests.support.bad_line", str(near.pid), name, str(far.pid), name]
    command += [str(delay_ms), str(jitter_ms), str(loss)]
    line = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert line.stdin is not None and line.stdout is not None
    try:
        assert line.stdout.readline() == b"there\n", "no line could be made"
        yield
    finally:
        line.stdin.close()
        line.wait(30)
        line.stdout.close()


def _tap(pid: str, name: str) -> int:
    """A TAP interface in the network namespace of `pid`; it goes with the descriptor that is returned."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(namespace)
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


class _Way:
    """One direction."""

    def __init__(self, source: int, target: int, delay_s: float, jitter_s: float, loss: float) -> None:
        self._source, self._target = source, target
        self._delay_s, self._jitter_s, self._loss = delay_s, jitter_s, loss
        self._luck = random.Random(source)  # of a test
        self._last = 0.0
        self._waiting = 0
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(source, self._read)

    def _read(self) -> None:
        try:
            frame = os.read(self._source, MAX_FRAME_BYTES)
        except OSError:
            return
        if self._luck.random() < self._loss or self._waiting >= MAX_WAITING:
            return
        delay_s = self._delay_s + self._luck.uniform(-self._jitter_s, self._jitter_s)
        self._last = max(self._last, self._loop.time() + delay_s)
        self._waiting += 1
        self._loop.call_at(self._last, self._write, frame)

    def _write(self, frame: bytes) -> None:
        self._waiting -= 1
        try:
            os.write(self._target, frame)
        except OSError:
            pass  # the interface is down


async def _carry(near: int, far: int, delay_s: float, jitter_s: float, loss: float) -> None:
    ways = (_Way(near, far, delay_s, jitter_s, loss), _Way(far, near, delay_s, jitter_s, loss))
    print("there", flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    del ways


def main() -> None:
    near_pid, near_name, far_pid, far_name, *figures = sys.argv[1:]
    delay_ms, jitter_ms, loss = map(float, figures)
    near, far = _tap(near_pid, near_name), _tap(far_pid, far_name)
    asyncio.run(_carry(near, far, delay_ms / 1000, jitter_ms / 1000, loss / 100))


if __name__ == "__main__":
    main()
