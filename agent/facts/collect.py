"""Collects sections aside, each with a deadline, settles what moves all the time, and measures what they cost.

A section's sources have deadlines of their own (source.py); the section's is the last resort, and bounds their sum.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping

import msgspec

from agent.facts.collectors.table import Collector, collectors
from agent.facts.source import Asked, Hung, reason_of
from agent.facts.steady import settle
from protocol.codec import encode
from protocol.ids import Sha256, sha256
from protocol.report import SectionRef
from protocol.sections.base import MAX_SECTION_BYTES, Section
from protocol.sections.catalogue import SECTIONS
from protocol.system_clock import Clock

__all__ = ["Collected", "Facts", "collectors"]

DEADLINE_S = 30.0
"""Of a section: a cold dpkg status on a slow disk takes seconds, and several mounts may hang for three each."""

GRACE_S = 5.0
"""Beyond it, for the section itself to put together what was answered."""


class Collected(msgspec.Struct, frozen=True):
    """One section: its name, JSON, and what it cost."""

    name: str
    data: bytes
    ref: SectionRef

    @property
    def sha256(self) -> Sha256:
        return self.ref.sha256


class _Run(threading.Thread):
    """One collection of one section."""

    def __init__(self, name: str, collector: Collector, asked: Asked, clock: Clock, done: Callable[[], None]) -> None:
        super().__init__(name=f"section-{name}", daemon=True)
        self._collector, self._asked, self._clock, self._done = collector, asked, clock, done
        self.result: Section | None = None
        self.failure = ""
        self.cpu_s = 0.0
        self.wall_s = 0.0

    def run(self) -> None:
        from time import thread_time

        started = self._clock.monotonic()
        try:
            self.result = self._collector(self._asked)
        except Exception as exc:  # a section that fails is a section that says so
            self.failure = reason_of(exc)
        self.cpu_s = thread_time() + self._asked.cpu_s
        self.wall_s = self._clock.monotonic() - started
        self._done()


class Facts:
    """Collects sections by name. One at a time, so that a slow machine is not made slower."""

    def __init__(
        self,
        sections: Mapping[str, Collector],
        clock: Clock,
        *,
        deadline_s: float = DEADLINE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        """deadline_s: of each section's sources together.  grace_s: beyond it, for the section itself."""
        self._sections = sections
        self._clock = clock
        self._deadline_s = deadline_s
        self._grace_s = grace_s
        self._hung = Hung()
        self._runs: dict[str, _Run] = {}
        self._settled: dict[str, Section] = {}

    @property
    def held(self) -> Mapping[str, Section]:
        """Each section as it was made last."""
        return self._settled

    def add(self, sections: Mapping[str, Collector]) -> None:
        """Collectors that need what is held."""
        self._sections = {**self._sections, **sections}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._sections)

    async def collect(self, names: Iterable[str], now: float) -> list[Collected]:
        """now: Unix seconds, the time that the sections will bear. Never raises for what a source does or says."""
        return [await self._one(name, now) for name in names if name in self._sections]

    async def _one(self, name: str, now: float) -> Collected:
        earlier = self._runs.get(name)
        if earlier is not None and earlier.is_alive():
            return self._failed(name, now, "still waiting for an earlier collection")
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        asked = Asked(self._hung, self._clock, self._clock.monotonic() + self._deadline_s)
        run = _Run(name, self._sections[name], asked, self._clock, lambda: _tell(loop, finished))
        run.start()
        try:
            async with asyncio.timeout(self._deadline_s + self._grace_s):
                await finished.wait()
        except TimeoutError:
            self._runs[name] = run
            return self._failed(name, now, "it did not come to an end")
        self._runs.pop(name, None)
        if run.result is None:
            return self._failed(name, now, run.failure or "it found nothing", run)
        return self._settle(name, run.result, now, run)

    def _settle(self, name: str, section: Section, now: float, run: _Run) -> Collected:
        settled = settle(self._settled.get(name), section)
        try:
            data = encode(settled)
        except (UnicodeError, OverflowError) as exc:
            return self._failed(name, now, f"a value cannot be sent: {exc}", run)
        if len(data) > MAX_SECTION_BYTES:
            return self._failed(name, now, f"it has {len(data)} bytes, where {MAX_SECTION_BYTES} are the most", run)
        self._settled[name] = settled
        return _collected(name, data, now, run)

    def _failed(self, name: str, now: float, reason: str, run: _Run | None = None) -> Collected:
        section = SECTIONS.get(name, Section)(unavailable={name: reason})
        return _collected(name, encode(section), now, run)


def _collected(name: str, data: bytes, now: float, run: _Run | None) -> Collected:
    ref = SectionRef(
        sha256=sha256(data),
        size=len(data),
        collected_at=int(now),
        cpu_ms=round(run.cpu_s * 1000) if run else 0,
        wall_ms=round(run.wall_s * 1000) if run else 0,
    )
    return Collected(name, data, ref)


def _tell(loop: asyncio.AbstractEventLoop, finished: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(finished.set)
    except RuntimeError:
        pass  # the agent stopped while a source was still thinking
