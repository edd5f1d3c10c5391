"""The earliest that it can be: a device's time despite a dead clock battery or a wrong signed date.

The floor is the latest of what is certain: when this release was built, when the accepted charter and policy were
issued, and what was known earlier plus the monotonic time that has passed since. The wall clock never raises it: a
clock that stood in 2080 for a minute would lock everybody out for decades. Only a higher charter lowers it (root
keys repair the mistake of signing with such a clock), and never below the build.

Pure. `wall` is Unix seconds by the system's clock, `monotonic` is protocol.system_clock's, in seconds.
"""

from __future__ import annotations

BEHIND_S = 60.0
"""A clock further behind the floor than this is a finding; below it is what certificates' issuers allow for skew."""


class TimeFloor:
    """The floor in one run of the agent.

    build_at: of this release.  known_at: what the last run kept (`floor_at`), or 0.  Both Unix seconds.
    """

    def __init__(self, *, build_at: float, known_at: float, monotonic: float) -> None:
        self._build_at = build_at
        self._base_at = max(build_at, known_at)
        self._since = monotonic

    def floor_at(self, monotonic: float) -> float:
        """The floor now: to be kept on disk every few minutes and at the end. The next run starts from it."""
        # A monotonic clock that goes back is a bug of the platform's; the floor still never falls by itself.
        return self._base_at + max(0.0, monotonic - self._since)

    def now(self, wall: float, monotonic: float) -> float:
        """The time to decide by."""
        return max(wall, self.floor_at(monotonic))

    def behind_s(self, wall: float, monotonic: float) -> float:
        """By how much the wall clock is known to be wrong, or 0: more than BEHIND_S is a finding."""
        return max(0.0, self.floor_at(monotonic) - wall)

    def raise_to(self, issued_at: float, monotonic: float) -> None:
        """A charter or policy issued at `issued_at` was accepted. Call it when it is accepted, not when it is loaded
        again: a loaded one would undo what a charter lowered.
        """
        if issued_at > self.floor_at(monotonic):
            self._base_at, self._since = issued_at, monotonic

    def lower_by_charter(self, time_floor_at: float, monotonic: float) -> None:
        """An accepted higher charter says that it is no earlier than `time_floor_at`, and need not be later."""
        if time_floor_at < self.floor_at(monotonic):
            self._base_at, self._since = max(self._build_at, time_floor_at), monotonic
