"""What a technician reads while the customer is asked."""

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


class WaitingLine:
    """Counts down on one line of a terminal; where there is none, says it once."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            if self._live:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()

    def ask(self, waiting: Waiting) -> None:
        self._until_at = waiting.until_at
        if not self._live:
            print(f"auxilio: {waiting_line(waiting.until_at, self._now())}", file=sys.stderr)
        elif self._timer is None:
            self._tick()

    def _tick(self) -> None:
        assert self._until_at is not None
        sys.stderr.write(f"\r\x1b[Kauxilio: {waiting_line(self._until_at, self._now())}")
        sys.stderr.flush()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
