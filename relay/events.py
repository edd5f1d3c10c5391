"""What happens here, told to consoles that listen. Bounded: a listener that does not keep up is dropped and comes back.

An event is a hint to look again, not a record: after a gap (a restart, a slow listener) a console reads anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from protocol.api import Event
from protocol.errors import Unavailable
from protocol.ids import OrganisationId
from relay.failures import TooMany

MAX_QUEUED = 512
"""Events that wait for one listener: a site that comes back at once, and a console on a slow line."""

MAX_REPLAY = 2_048
"""The last events are kept for those who come back after a cut."""

MAX_LISTENERS = 500
"""Of which one organisation may have half."""

MAX_LISTENERS_EACH = 16
"""Of a technician: a console or two, and what they integrate."""


class Numbered(msgspec.Struct, frozen=True):
    """id: "START-NUMBER"; START tells apart the runs of the relay, NUMBER counts what its organisation was told.

    Counted over all, the gaps between its numbers would tell an organisation how much happens in the others.
    """

    id: str
    event: Event


class Overrun(Unavailable):
    """The listener did not keep up; it must read anew."""

    code = "events_lost"


class Listener:
    def __init__(self, organisation: OrganisationId, who: str) -> None:
        self.organisation = organisation
        self.who = who
        self._queue: asyncio.Queue[Numbered | None] = asyncio.Queue()
        self._overrun = False

    def put(self, event: Numbered) -> None:
        if self._queue.qsize() >= MAX_QUEUED:
            self._overrun = True
        else:
            self._queue.put_nowait(event)

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def get(self) -> Numbered:
        """Raises Overrun once what was queued in time is read, or the relay stops."""
        if self._overrun and self._queue.empty():
            raise Overrun("events were lost")
        event = await self._queue.get()
        if event is None:
            raise Overrun("the relay is stopping")
        return event


class Events:
    """start: what tells this run of the relay apart from others, letters and digits."""

    def __init__(self, start: str) -> None:
        self._start = start
        self._numbers: dict[OrganisationId, int] = {}
        self._recent: dict[OrganisationId, deque[Numbered]] = {}
        self._listeners: set[Listener] = set()

    def __len__(self) -> int:
        return len(self._listeners)

    def close(self) -> None:
        """End every stream: the relay is stopping."""
        for listener in self._listeners:
            listener.end()

    def publish(self, event: Event) -> None:
        number = self._numbers[event.organisation] = self._numbers.get(event.organisation, 0) + 1
        numbered = Numbered(f"{self._start}-{number}", event)
        self._recent.setdefault(event.organisation, deque(maxlen=MAX_REPLAY)).append(numbered)
        for listener in self._listeners:
            if listener.organisation == event.organisation:
                listener.put(numbered)

    @contextmanager
    def listen(self, organisation: OrganisationId, who: str, last_id: str) -> Iterator[Listener]:
        """who: the technician who listens.

        last_id: of the last event that was read before a cut, or "". What followed it is told first, if it is known.
        Raises TooMany.
        """
        of_organisation = [known for known in self._listeners if known.organisation == organisation]
        theirs = sum(known.who == who for known in of_organisation)
        if (
            theirs >= MAX_LISTENERS_EACH
            or len(of_organisation) >= MAX_LISTENERS // 2
            or len(self._listeners) >= MAX_LISTENERS
        ):
            raise TooMany("there are too many listeners", retry_after_s=30.0)
        listener = Listener(organisation, who)
        start, _, number = last_id.partition("-")
        if start == self._start and number.isascii() and number.isdigit() and len(number) < 16:
            for numbered in self._recent.get(organisation, ()):
                if int(numbered.id.partition("-")[2]) > int(number):
                    listener.put(numbered)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
