"""The section on services: which the system wanted to run and could not, and whether its clock is kept right."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count, Instant, Section


class FailedService(Record, frozen=True, kw_only=True):
    """name: of its unit, "ssh.service".  title: for people.  result: why, as systemd.service(5) names it
    ("exit-code", "signal", "timeout", "oom-kill", "start-limit-hit"), or "".  status: its exit status or signal.

    since_at: when it failed.  restarts: how often it was started again by itself.
    """

    name: str
    title: str = ""
    result: str = ""
    status: Count | None = None
    since_at: Instant | None = None
    restarts: Count | None = None


class Services(Section, frozen=True, kw_only=True):
    """manager: systemd, windows, or "" where there is none that can be asked.  state: as `systemctl is-system-running`
    says it: running, degraded, starting, maintenance, ...

    failed: by name.  restarting: those that end and are started again and again, though none of them counts as failed.
    clock_synchronised: whether a time server keeps the clock right; None where nobody knows.
    """

    manager: str = ""
    state: str = ""
    failed: tuple[FailedService, ...] = ()
    restarting: tuple[FailedService, ...] = ()
    clock_synchronised: bool | None = None
