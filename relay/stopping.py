"""Whether this process is on its way out: begun once, and asked by whoever would begin something new.

SIGTERM -> draining: nothing new, sessions end by themselves -> told: goodbye to agents -> committed -> gone
"""

from __future__ import annotations

from protocol.system_clock import Clock
from relay.failures import Busy
from relay.farewell import FIRST_RETURN_S, SHORTEST_WINDOW_S

REASON = "relay_restarting"
MESSAGE = "the relay is restarting"


class Restarting(Busy):
    """Nothing new is begun. retry_after_s: when the next process is there, at the latest."""

    code = REASON


class Stopping:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: float | None = None

    @property
    def has_begun(self) -> bool:
        return self._until is not None

    def begin(self, drain_s: float) -> None:
        """drain_s: the most that sessions are given."""
        self._until = self._clock.monotonic() + drain_s

    def refuse(self) -> None:
        """Raises Restarting once it has begun."""
        if self._until is None:
            return
        left_s = max(self._until - self._clock.monotonic(), 0.0)
        raise Restarting(
            MESSAGE, retry_after_s=left_s + FIRST_RETURN_S + SHORTEST_WINDOW_S, hint="Try again in a moment."
        )
