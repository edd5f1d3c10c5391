"""Dialling a relay that has a crowd before its door.

When it comes back after a failure, every device comes at once, and it resets whom it has no room for (relay/pace.py).
Devices come again by their backoff, which spreads them. People do not wait for that: they knock again at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from transport.failures import RelayCut

T = TypeVar("T")

KNOCKS = 10
SHORTEST_S, LONGEST_S = 0.05, 1.0
"""Between two of them: at most ten seconds in all, after which it is no crowd."""


async def patiently(dial: Callable[[], Awaitable[T]], uniform: Callable[[float, float], float] = random.uniform) -> T:
    """What `dial` returns; again where the connection was cut before it stood. Raises what the last dial did."""
    for _ in range(KNOCKS - 1):
        try:
            return await dial()
        except RelayCut:
            await asyncio.sleep(uniform(SHORTEST_S, LONGEST_S))
    return await dial()
