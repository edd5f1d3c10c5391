"""Runs the sections aside, each with a deadline, and measures what they cost.

A section is collected in a thread of its own, because what it asks may hang (a dead network mount, a sick disk).
One that misses its deadline is reported as not available and its thread left behind; it is not asked again until
that thread ends, so hung threads do not pile up.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping

import msgspec

from agent.facts.machine_sections import battery_section, cpu_section, memory_section, system_section
from agent.facts.network_section import network_section
from agent.facts.software_section import software_section
from agent.facts.storage_section import storage_section
from protocol.codec import encode
from protocol.ids import Sha256, sha256
from protocol.report import SECTIONS, SectionRef
from protocol.system_clock import Clock

DEADLINE_S = 30.0
"""A cold dpkg status on a slow disk takes seconds; what takes longer than this hangs."""

Collector = Callable[[], object]


class Collected(msgspec.Struct, frozen=True):
    """One section: its name, JSON, and what it cost."""

    name: str
    data: bytes
    ref: SectionRef

    @property
    def sha256(self) -> Sha256:
        return self.ref.sha256


def collectors(release: str) -> dict[str, Collector]:
    """How each section of this release is collected, by name."""
    return {
        "system": lambda: system_section(release),
        "cpu": cpu_section,
        "memory": memory_section,
        "storage": storage_section,
        "network": network_section,
        "software": software_section,
        "battery": battery_section,
    }


class _Run(threading.Thread):
    """One collection. CPU time is the thread's own, so that sections do not pay for each other."""

    def __init__(self, name: str, collector: Collector, clock: Clock, done: Callable[[], None]) -> None:
        super().__init__(name=f"section-{name}", daemon=True)
        self.collector, self.clock, self.done = collector, clock, done
        self.result: object | None = None
        self.failure = ""
        self.cpu_ms = 0
        self.wall_ms = 0

    def run(self) -> None:
        from time import thread_time

        started, cpu = self.clock.monotonic(), thread_time()
        try:
            self.result = self.collector()
        except Exception as exc:  # a section that fails is a section that says so
            self.failure = f"{type(exc).__name__}: {exc}"[:200]
        self.cpu_ms = round((thread_time() - cpu) * 1000)
        self.wall_ms = round((self.clock.monotonic() - started) * 1000)
        self.done()


class Facts:
    """Collects sections by name. One at a time, so that a slow machine is not made slower."""

    def __init__(self, sections: Mapping[str, Collector], clock: Clock, *, deadline_s: float = DEADLINE_S) -> None:
        self._sections = sections
        self._clock = clock
        self._deadline_s = deadline_s
        self._hung: dict[str, _Run] = {}

    async def collect(self, names: Iterable[str], now: float) -> list[Collected]:
        """now: Unix seconds, the time that the sections will bear. Never raises for what a source does."""
        return [await self._one(name, now) for name in names if name in self._sections]

    async def _one(self, name: str, now: float) -> Collected:
        hung = self._hung.get(name)
        if hung is not None and hung.is_alive():
            return self._failed(name, now, "still waiting for an earlier collection")
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        run = _Run(name, self._sections[name], self._clock, lambda: _tell(loop, finished))
        run.start()
        try:
            async with asyncio.timeout(self._deadline_s):
                await finished.wait()
        except TimeoutError:
            self._hung[name] = run
            return self._failed(name, now, f"did not answer within {self._deadline_s:g} s")
        self._hung.pop(name, None)
        if run.result is None:
            return self._failed(name, now, run.failure or "no answer", run)
        return self._finished(name, encode(run.result), now, run)

    def _failed(self, name: str, now: float, reason: str, run: _Run | None = None) -> Collected:
        return self._finished(name, encode(SECTIONS[name](unavailable={name: reason})), now, run)

    @staticmethod
    def _finished(name: str, data: bytes, now: float, run: _Run | None) -> Collected:
        ref = SectionRef(
            sha256=sha256(data),
            size=len(data),
            collected_at=int(now),
            cpu_ms=run.cpu_ms if run else 0,
            wall_ms=run.wall_ms if run else 0,
        )
        return Collected(name, data, ref)


def _tell(loop: asyncio.AbstractEventLoop, finished: asyncio.Event) -> None:
    try:
        loop.call_soon_threadsafe(finished.set)
    except RuntimeError:
        pass  # the agent stopped while a source was still thinking
