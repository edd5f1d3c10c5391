"""One line on a terminal while files are copied: how much, how fast, how long yet. Nothing where there is none."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from console.files.tally import Tally
from protocol.system_clock import Clock
from protocol.units import duration_text, size_text

TICK_S = 0.2

SMOOTH_S = 3.0
"""Of the rate: what happened longer ago hardly counts."""

CLEAR = "\r\x1b[K"


class Rate:
    """Bytes a second, smoothed."""

    def __init__(self, now: float) -> None:
        self._at, self._count = now, 0
        self._seen_s = 0.0
        self.per_s = 0.0

    def saw(self, count: int, now: float) -> None:
        """count: bytes altogether."""
        passed = now - self._at
        if passed <= 0:
            return
        current = max(0, count - self._count) / passed
        # Over its first seconds a plain average, so that it does not climb from nothing.
        self._seen_s = min(self._seen_s + passed, SMOOTH_S)
        weight = min(1.0, passed / self._seen_s)
        self.per_s += weight * (current - self.per_s)
        self._at, self._count = now, count


def line_of(tally: Tally, per_s: float, columns: int) -> str:
    """At most `columns` wide. per_s: bytes."""
    finished = tally.copied + tally.unchanged + tally.failed
    settled = min(tally.settled, tally.bytes)
    parts = [f"{finished:,} of {tally.files:,} files", f"{size_text(settled)} of {size_text(tally.bytes)}"]
    parts.append(f"{size_text(per_s)}/s")
    if per_s > 0 and tally.bytes > settled:
        parts.append(f"{duration_text((tally.bytes - settled) / per_s)} left")
    line = "  ".join(parts)
    room = columns - len(line) - 3
    if tally.current and room > 10:
        name = tally.current
        line += "  " + (name if len(name) <= room else "…" + name[len(name) - room + 1 :])
    return line[: columns - 1]


class Progress:
    """with Progress(tally, clock, say): the line lives as long. say: prints a note, here above the line."""

    def __init__(self, tally: Tally, clock: Clock, say: Callable[[str], None], *, wanted: bool = True) -> None:
        self._say = say
        self._tally = tally
        self._clock = clock
        self._live = wanted and sys.stderr.isatty()
        self._timer: asyncio.TimerHandle | None = None
        self._rate = Rate(clock.monotonic())

    def __enter__(self) -> Self:
        if self._live:
            self._tick()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.clear()

    def say(self, line: str) -> None:
        """A note above the line, which the next tick draws anew."""
        self.clear()
        self._say(line)

    def clear(self) -> None:
        if self._live:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()

    def _tick(self) -> None:
        self._rate.saw(self._tally.settled, self._clock.monotonic())
        columns = shutil.get_terminal_size().columns
        sys.stderr.write(CLEAR + line_of(self._tally, self._rate.per_s, columns))
        sys.stderr.flush()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
