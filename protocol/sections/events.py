"""The section on what went wrong lately: what the kernel logged, programs that crashed, starts without a shutdown."""

from __future__ import annotations

from typing import Literal

from protocol.codec import Record
from protocol.sections.base import Count, Instant, Section

EventKind = Literal[
    "crash",
    "disk",
    "filesystem",
    "graphics",
    "hang",
    "kernel",
    "machine-check",
    "memory-error",
    "oom",
    "oom-limit",
    "throttled",
    "under-voltage",
    "usb",
    "usb-power",
    "wifi",
]
"""crash: of a program.  oom: the kernel ended a program for want of memory; oom-limit: for the limit that was set for
its group.  hang: something waits for minutes.  kernel: a fault of its own.  wifi: its adapter's firmware crashed."""


class Event(Record, frozen=True, kw_only=True):
    """kind: of EventKind, or of a later release.  subject: the program's or device's name, never its arguments or
    files.  count: coarse.  last_at: the last of them, to the hour."""

    kind: str
    subject: str = ""
    count: Count
    last_at: Instant


class Events(Section, frozen=True, kw_only=True):
    """events: since the start; programs' crashes as far back as they are kept. By kind and subject.

    unclean_starts: in the last 30 days, starts that no shutdown preceded: a crash, a flat battery, a pulled plug.
    kernel_dumps: what the kernel wrote down as it died, and when the last was.
    """

    events: tuple[Event, ...] = ()
    unclean_starts: Count | None = None
    unclean_start_at: Instant | None = None
    kernel_dumps: Count | None = None
    kernel_dump_at: Instant | None = None
