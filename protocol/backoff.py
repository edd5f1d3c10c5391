"""When to dial the relay again. Full jitter: a relay that restarts is not met by every agent at once.

Pure: `now` is monotonic seconds, `uniform` draws between two bounds (random.uniform in the driver).
"""

from __future__ import annotations

from collections.abc import Callable

Uniform = Callable[[float, float], float]

SHORTEST_S = 1.0
"""Never sooner: a relay that accepts and hangs up must not be dialled in a tight loop."""

FIRST_S = 4.0
"""The longest first wait, so that after a short outage most agents are back within seconds."""

CAP_S = 60.0
"""A device is back within a minute of the network's return, however long it was away."""

CALM_S = 60.0
"""A link that held this long was a good one; the next failure begins anew. Less would let a crash loop hammer."""

LONGEST_RETURN_S = 600.0
"""The most that a relay may ask for. It can refuse service anyway, but one mistaken Goodbye must not cost a day."""


def delay_s(attempt: int, uniform: Uniform) -> float:
    """The wait before the attempt after `attempt` failed ones (0: the first), SHORTEST_S to CAP_S."""
    return uniform(SHORTEST_S, min(CAP_S, FIRST_S * 2.0 ** min(attempt, 16)))


class Backoff:
    """Counts failures in a row and forgets them after a minute of calm."""

    def __init__(self) -> None:
        self._failures = 0
        self._connected_since: float | None = None

    @property
    def failures(self) -> int:
        return self._failures

    def connected(self, now: float) -> None:
        """The link stands (the relay said Welcome; a TCP connection alone is not success)."""
        self._connected_since = now

    def disconnected(self, now: float, *, blamed: bool = True) -> None:
        """The link ended, or an attempt failed. blamed: for a reason at the other side; else it counts for nothing."""
        if self._connected_since is not None and now - self._connected_since >= CALM_S:
            self._failures = 0
        elif blamed:
            self._failures += 1
        self._connected_since = None

    def next_delay_s(self, uniform: Uniform, *, return_after_s: float | None = None) -> float:
        """How long to wait now. return_after_s: what the relay's Goodbye asked for; jitter of our own is added."""
        if return_after_s is None:
            return delay_s(max(0, self._failures - 1), uniform)
        # Written so that a NaN from the relay becomes the shortest wait.
        asked = min(return_after_s, LONGEST_RETURN_S) if return_after_s >= SHORTEST_S else SHORTEST_S
        return asked + uniform(0.0, max(SHORTEST_S, asked / 2))
