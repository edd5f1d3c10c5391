"""From two readings of how long the processors did what, to how busy they were in between."""

from __future__ import annotations

import msgspec


class ProcessorTime(msgspec.Struct, frozen=True):
    """Seconds since the start, of all processors together. idle: waiting for disks included."""

    total: float
    idle: float


def busy_percent(before: ProcessorTime, now: ProcessorTime) -> float | None:
    """None where no time passed, or the counters began anew (a container that moved, a machine that slept)."""
    passed, idle = now.total - before.total, now.idle - before.idle
    if passed <= 0 or not 0 <= idle <= passed:
        return None
    return 100.0 * (passed - idle) / passed
