"""The one impure module of this package: where drivers get the time from.

Everything that decides takes `now` as a parameter; everything that does asks a Clock. Tests pass their own.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """The wall clock: Unix seconds, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary origin. Counts suspended time where the system can."""


class SystemClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        # CLOCK_MONOTONIC stops while a laptop sleeps; a deadline that passed in its sleep has passed.
        return time.clock_gettime(boottime) if boottime is not None else time.monotonic()
