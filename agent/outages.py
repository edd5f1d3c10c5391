"""The times without a relay, and why: kept on the device, told once there is a relay again.

"Why was it offline at two?" is asked the next morning, by somebody who sees a device that works.
"""

from __future__ import annotations

import logging

import msgspec

from agent.state import CorruptState, StateDir
from protocol.codec import Record
from protocol.errors import AuxilioError
from protocol.sections.connectivity import Connectivity, Outage

log = logging.getLogger(__name__)

FILE = "outages.json"
KEPT = 50
SHORTEST_S = 20.0
"""A link that is back sooner was no outage: a relay that restarts, a device that changes its network."""


class Kept(Record, frozen=True, kw_only=True):
    """The latest first."""

    outages: tuple[Outage, ...] = ()


class OutageLog:
    """One per agent."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._kept = self._load()

    def _load(self) -> Kept:
        try:
            return self._state.read_as(FILE, Kept) or Kept()
        except AuxilioError as exc:
            log.warning("%s", exc.message)
            if isinstance(exc, CorruptState):
                self._state.move_aside(FILE)
            return Kept()

    @property
    def outages(self) -> tuple[Outage, ...]:
        return self._kept.outages

    @property
    def lasting(self) -> bool:
        return bool(self.outages) and self.outages[0].until_at is None

    def link_down(self, at: float) -> None:
        """at: Unix seconds."""
        if not self.lasting:
            self._keep((Outage(from_at=int(at)), *self.outages))

    def looked(self, section: Connectivity) -> None:
        """The ladder was climbed: if it was during an outage, what it found first explains it."""
        verdict = section.verdict
        if self.lasting and verdict is not None and not self.outages[0].code:
            first = msgspec.structs.replace(self.outages[0], code=verdict.code, rung=verdict.name)
            self._keep((first, *self.outages[1:]))

    def link_up(self, at: float) -> None:
        if not self.lasting:
            return
        first, others = self.outages[0], self.outages[1:]
        if at - first.from_at < SHORTEST_S:
            self._keep(others)
        else:
            self._keep((msgspec.structs.replace(first, until_at=max(int(at), first.from_at)), *others))

    def _keep(self, outages: tuple[Outage, ...]) -> None:
        """A disk that is full costs the timeline, and nothing else."""
        self._kept = Kept(outages=outages[:KEPT])
        try:
            self._state.write_as(FILE, self._kept)
        except AuxilioError as exc:
            log.warning("%s", exc.message)
