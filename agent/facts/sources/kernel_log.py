"""What the kernel has logged since the start, read once and then only what is new."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from time import monotonic as seconds_awake

from agent.facts.parsers.event_tally import EventTally
from agent.facts.parsers.json_values import read_json, text_at
from agent.facts.parsers.kernel_log import classify, parse_journal_line, parse_kmsg
from agent.facts.source import LINUX, Missing, Source, find_program, reason_of
from agent.facts.sources.command import run
from protocol.sections.events import Event
from protocol.system_clock import Clock, SystemClock

KMSG = "/dev/kmsg"
RECORD_BYTES = 8192
"""The kernel refuses a smaller buffer with EINVAL where a record would not fit."""

MAX_RECORDS = 50_000
"""In one look. The kernel's buffer holds some thousand; what a machine logs faster than this is left to the next."""

JOURNAL_LINES = 3000
JOURNAL_S = 10.0


def open_kmsg() -> int:
    return os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


class KernelLog:
    """Keeps its place in the log, so that each line is read once. Where the kernel's own file is closed to this
    account, the journal is asked for what came since the last look."""

    def __init__(
        self, clock: Clock, opened: Callable[[], int] = open_kmsg, awake_s: Callable[[], float] = seconds_awake
    ) -> None:
        """opened: returns a descriptor that does not wait, of which each read is one record.  awake_s: the clock by
        which the kernel dates its lines: seconds since the start, without those that the machine slept."""
        self._clock = clock
        self._opened = opened
        self._awake_s = awake_s
        self._descriptor: int | None = None
        self._cursor = ""
        self._tally = EventTally()

    def look(self) -> tuple[Event, ...]:
        """What it told of since the start. Raises Missing."""
        if self._descriptor is None and not self._cursor:
            try:
                self._descriptor = self._opened()
            except OSError as exc:
                self._look_into_journal(reason_of(exc))
                return self._tally.events()
        if self._descriptor is None:
            self._look_into_journal("")
        else:
            self._read(self._descriptor)
        return self._tally.events()

    def _read(self, descriptor: int) -> None:
        """Instants are those of the kernel's clock, which stands still while the machine sleeps: seen from now, so
        that what was just logged is told right."""
        started = self._clock.now() - self._awake_s()
        for _ in range(MAX_RECORDS):
            try:
                record = os.read(descriptor, RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # what was next has been overwritten: go on with what is left
            if not record:
                return
            line = parse_kmsg(record)
            if line is not None and (seen := classify(line.text)) is not None:
                self._tally.add(seen, started + line.at_us / 1e6)

    def _look_into_journal(self, why: str) -> None:
        if find_program("journalctl") is None:
            raise Missing(why or "the program journalctl is not installed")
        after = ("--after-cursor", self._cursor) if self._cursor else ()
        words = ("-k", "-b", "-q", "-o", "json", "--output-fields=MESSAGE,_TRANSPORT", "-n", str(JOURNAL_LINES))
        printed = run("journalctl", *words, "--no-pager", *after, deadline_s=JOURNAL_S)
        if printed.status != 0 or (not printed.output and not self._cursor):
            raise Missing(why or printed.fault or "the journal has nothing of the kernel for this account")
        for text in printed.output.splitlines():
            line = parse_journal_line(text)
            if line is not None and (seen := classify(line.text)) is not None:
                self._tally.add(seen, line.at_us / 1e6)
            self._cursor = text_at(read_json(text), "__CURSOR", limit=1000) or self._cursor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


_LOG = KernelLog(SystemClock())
"""One for the process: its place in the log is what makes a look cheap."""

KERNEL_EVENTS = Source(name="kernel_log", ask=_LOG.look, platforms=LINUX, deadline_s=JOURNAL_S + 5)
