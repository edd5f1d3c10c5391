"""When a relay that stops wants each of its agents back. Pure: links.py says it to them.

All at once would meet the next process with as many TLS handshakes as there are devices. So each is told a moment of
its own, evenly over a window that grows with their number; the agent adds jitter (protocol/backoff.py), and bounds
what it is told.
"""

from __future__ import annotations

from collections.abc import Callable

RETURNS_PER_S = 200.0
"""A link costs a millisecond of CPU at its beginning (measured): a fifth of one core, beside everything else."""

FIRST_RETURN_S = 1.0
"""The next process takes about so long until it listens."""

SHORTEST_WINDOW_S = 2.0
LONGEST_WINDOW_S = 300.0
"""Nobody is sent away for longer: from 60,000 links on, more than RETURNS_PER_S come back in a second instead."""


def window_s(links: int) -> float:
    """Over how long `links` of them are to come back."""
    return min(max(links / RETURNS_PER_S, SHORTEST_WINDOW_S), LONGEST_WINDOW_S)


def return_times(links: int, uniform: Callable[[float, float], float]) -> list[float]:
    """Seconds from now, one for each link, ascending: each within a share of the window of its own.

    Drawn within equal shares, and not each from the whole, so that no second gets much more than another.
    """
    share_s = window_s(links) / max(links, 1)
    return [round(FIRST_RETURN_S + uniform(n * share_s, (n + 1) * share_s), 3) for n in range(links)]
