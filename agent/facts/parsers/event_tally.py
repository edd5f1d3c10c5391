"""Counts what the kernel's lines tell of. Pure: lines in, events out."""

from __future__ import annotations

from agent.facts.parsers.kernel_log import Seen
from protocol.sections.events import Event

MAX_EVENTS = 200
"""Of different kinds and subjects; a machine with more has one illness, not two hundred."""

MAX_AT = 2**40


class EventTally:
    """How often each was seen, and when last (Unix seconds)."""

    def __init__(self) -> None:
        self._counts: dict[Seen, int] = {}
        self._last_at: dict[Seen, float] = {}

    def add(self, seen: Seen, at: float) -> None:
        if seen not in self._counts and len(self._counts) >= MAX_EVENTS:
            return
        self._counts[seen] = self._counts.get(seen, 0) + 1
        self._last_at[seen] = max(at, self._last_at.get(seen, 0.0))

    def events(self) -> tuple[Event, ...]:
        """By kind and subject."""
        found = (
            Event(kind=seen.kind, subject=seen.subject, count=count, last_at=int(min(MAX_AT, self._last_at[seen])))
            for seen, count in self._counts.items()
        )
        return tuple(sorted(found, key=lambda event: (event.kind, event.subject)))


def merged(first: tuple[Event, ...], second: tuple[Event, ...]) -> tuple[Event, ...]:
    """Of one kind and subject in both, the one that was seen more often: a crash with a memory image is logged too."""
    most: dict[tuple[str, str], Event] = {}
    for event in (*first, *second):
        key = (event.kind, event.subject)
        if key not in most or most[key].count < event.count:
            most[key] = event
    return tuple(sorted(most.values(), key=lambda event: (event.kind, event.subject)))[:MAX_EVENTS]
