"""What a technician reads while the customer is asked, or while a lost connection is made anew."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from protocol.leg import Waiting

TICK_S = 1.0


def waiting_line(until_at: float, now: float) -> str:
    """until_at, now: Unix seconds; the device's clock and ours may differ, so the count is never below zero."""
    left_s = max(0, round(until_at - now))
    return f"waiting for the customer's consent: {left_s} s left; no answer is a no"


def away_line(since: float, now: float) -> str:
    """since, now: monotonic seconds."""
    return f"the connection was lost, reconnecting... {now - since:.0f} s"


class WaitingLine:
    """Counts on one line of a terminal; where there is none, says it once.

    A remote program may have the terminal meanwhile, in raw mode: lines end with a carriage return of their own.
    """

    def __init__(self, now: Callable[[], float], *, live: bool | None = None) -> None:
        """live: whether to count on a line of the terminal; None: if there is one."""
        self._now = now
        self._until_at: float | None = None
        self._away_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._live = sys.stderr.isatty() if live is None else live

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        """Take the line off the screen."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._write("\r\x1b[K")

    @property
    def _end_of_line(self) -> str:
        return "\r\n" if sys.stderr.isatty() else "\n"

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def spliced(self) -> None:
        """There is a session: nobody is asked any more."""
        self._end()
        self._until_at = None

    def away(self) -> None:
        now = asyncio.get_running_loop().time()
        self._away_since = now
        if self._live:
            self._write("\r\n")
            self._tick()
        else:
            self._write(f"auxilio: {away_line(now, now)}{self._end_of_line}")

    def back(self) -> None:
        if self._away_since is not None:
            seconds = asyncio.get_running_loop().time() - self._away_since
            self._away_since = None
            self._end()
            self._write(f"auxilio: connected again, after {seconds:.1f} s{self._end_of_line}")

    def ask(self, waiting: Waiting) -> None:
        self._until_at = waiting.until_at
        if not self._live:
            print(f"auxilio: {waiting_line(waiting.until_at, self._now())}", file=sys.stderr)
        elif self._timer is None:
            self._tick()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        if self._away_since is not None:
            line = away_line(self._away_since, loop.time())
        else:
            assert self._until_at is not None
            line = waiting_line(self._until_at, self._now())
        self._write(f"\r\x1b[Kauxilio: {line}")
        self._timer = loop.call_later(TICK_S, self._tick)
