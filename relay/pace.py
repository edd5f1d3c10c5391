"""How fast connections are taken. Pure: fed with how late the loop is, it says how long to wait before the next.

When a relay restarts, thousands of devices come at once, and each handshake and hello costs the loop milliseconds.
Taken as fast as they come, they would stand before every byte of the sessions that are open. So connections are taken
one at a time, and the time between two of them follows how late the loop is: more when it is late, less when it is
not. The listener turns away whom it cannot take soon.
"""

from __future__ import annotations

LATE_S = 0.005
"""What a turn of the loop may take. A key passes the relay's loop twice, and 10 ms are not felt."""

SLOWER, FASTER = 1.5, 0.9
FIRST_S, LONGEST_S = 0.001, 0.05
"""Between two connections. 20 a second are the least: a fleet is back some day, however slow the machine."""


class Pace:
    """wait_s: before the next connection is taken."""

    def __init__(self) -> None:
        self.wait_s = 0.0

    def on_turn(self, turn_s: float) -> None:
        """turn_s: how long the loop took to come round after a connection was taken."""
        if turn_s > LATE_S:
            self.wait_s = min(LONGEST_S, max(FIRST_S, self.wait_s * SLOWER))
        elif self.wait_s:
            self.wait_s = self.wait_s * FASTER if self.wait_s * FASTER >= FIRST_S / 2 else 0.0
