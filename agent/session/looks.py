"""How often technicians may have the device look at itself: a pure bound, over all sessions.

A look takes seconds of a processor and connections to everything around; a console that asks in a loop, or many
technicians at once, must not wear down the device that they want to help.
"""

from __future__ import annotations

from protocol.errors import Refused

BURST = 4
EVERY_S = 30.0
"""Four one after the other, then one every half a minute: a person who tries something looks again that soon."""

LOOK_WITHIN_S = 180.0
"""Three times what a look takes where nothing answers; then it is ended."""


class Looks:
    """command: the words that start a look; () where none is served. One of these a device."""

    def __init__(self, command: tuple[str, ...] = ()) -> None:
        self.command = command
        self._running = False
        self._left = float(BURST)
        self._at = 0.0

    def begin(self, now: float) -> None:
        """now: monotonic seconds. Raises Refused (not_served, look_runs, too_soon); then `end` is not to be called."""
        if not self.command:
            raise Refused("this device does not look at itself for technicians", code="not_served")
        if self._running:
            raise Refused("the device is looking already", code="look_runs", hint="Wait until it has finished.")
        self._left = min(float(BURST), self._left + max(0.0, now - self._at) / EVERY_S)
        self._at = now
        if self._left < 1.0:
            wait_s = (1.0 - self._left) * EVERY_S
            raise Refused(
                "the device has looked often enough just now", code="too_soon", hint=f"Ask again in {wait_s:.0f} s."
            )
        self._left -= 1.0
        self._running = True

    def end(self) -> None:
        """It has ended, however it did."""
        self._running = False
