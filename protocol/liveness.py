"""Whether the other end of a link is still there: a ping each way, with a deadline. Half-open sockets tell nobody.

Each end runs one of these. Pure: `now` is monotonic seconds *that count suspended time* (protocol.system_clock), so
that a laptop which wakes knows at once that its link is old.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

PERIOD_S = 25.0
"""Between pings. Home routers forget idle TCP connections after as little as 30 s, some mobile networks after 28."""

SPREAD = 0.2
"""Of the period, either way: a hundred thousand links must not ping in step."""

SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 1.0, 300.0
"""Bounds on what a relay may ask for in its Welcome."""

PONG_WITHIN_S = 20.0
"""From the ping, if nothing at all is heard: 20 round trips of a satellite link with a full buffer."""

PATIENCE_S = 60.0
"""From the ping, while other messages still arrive: a slow line may be busy, but a deaf peer is no peer."""

PROBE_WITHIN_S = 8.0
"""From a probe, or whatever was heard last after it: the network changed under the connection, so there is a reason to
doubt it. TCP has sent the ping six times by then."""

PROBES_EVERY_S = 5.0
"""A machine whose containers come and go sees its network change every second."""

ASLEEP_S = 30.0
"""A tick this much later than its deadline means that the machine slept (or the process hung): begin anew."""

NAP_S = 2.0
"""Less than that is a busy machine; more, and up to ASLEEP_S, a reason to ask."""


class SendPing(msgspec.Struct, frozen=True):
    id: int


class Dead(msgspec.Struct, frozen=True):
    """Rebuild the connection. reason: one line, for `status` and for the Hello after it."""

    reason: str


Effect = SendPing | Dead


class Liveness:
    """One connection's liveness, from `now` on."""

    def __init__(self, now: float, uniform: Callable[[float, float], float], *, period_s: float = PERIOD_S) -> None:
        # The comparison is written so that a NaN from the relay becomes the shortest period.
        period_s = min(period_s, LONGEST_PERIOD_S) if period_s >= SHORTEST_PERIOD_S else SHORTEST_PERIOD_S
        self._uniform = uniform
        self._bounds_s = (period_s * (1 - SPREAD), period_s * (1 + SPREAD))
        self._ping_at = now + uniform(*self._bounds_s)
        self._last_id = 0
        self._asked_at: float | None = None
        self._heard_at = now
        self._doubted_at: float | None = None
        self._probed_at = now - PROBES_EVERY_S
        self._dead = False

    def next_deadline(self) -> float | None:
        """When to call `on_tick` next; None once dead."""
        if self._dead:
            return None
        return self._ping_at if self._asked_at is None else self._answer_by(self._asked_at)

    def heard(self, now: float) -> None:
        """Any message arrived."""
        self._heard_at = now

    def probe(self, now: float) -> None:
        """Something happened that may have cut the connection: ask now, not at the next period, and wait less long."""
        if self._dead or self._doubted_at is not None:
            return
        self._doubted_at = now
        if self._asked_at is None:
            self._ping_at = min(self._ping_at, max(now, self._probed_at + PROBES_EVERY_S))

    def woke(self, slept_s: float, now: float) -> list[Effect]:
        """The machine stood still for `slept_s`: an old connection is given up, a younger one is asked."""
        if self._dead or slept_s < NAP_S:
            return []
        if slept_s > ASLEEP_S:
            return self._die(_slept(slept_s))
        self.probe(now)
        return []

    def on_pong(self, id: int, now: float) -> bool:
        """An answer; True if it ends a doubt. One to another ping than the last is only a sound of life."""
        self.heard(now)
        if self._asked_at is None or id != self._last_id:
            return False
        was_doubted = self._doubted_at is not None
        self._asked_at = self._doubted_at = None
        self._ping_at = now + self._uniform(*self._bounds_s)
        return was_doubted

    def on_tick(self, now: float) -> list[Effect]:
        """Time passed. Calling it early does no harm."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return []
        if now - deadline > ASLEEP_S:
            return self._die(_slept(now - deadline))
        if self._asked_at is not None:
            return self._die(f"no answer to a ping for {now - self._asked_at:.0f} s")
        self._last_id += 1
        self._asked_at = now
        if self._doubted_at is not None:
            self._doubted_at = self._probed_at = now
        return [SendPing(self._last_id)]

    def _answer_by(self, asked_at: float) -> float:
        by = max(asked_at + PONG_WITHIN_S, min(self._heard_at + PONG_WITHIN_S, asked_at + PATIENCE_S))
        if self._doubted_at is None:
            return by
        return min(by, max(self._doubted_at, self._heard_at) + PROBE_WITHIN_S)

    def _die(self, reason: str) -> list[Effect]:
        self._dead = True
        return [Dead(reason)]


def _slept(slept_s: float) -> str:
    return f"the machine slept or stood still for {slept_s:.0f} s"
