"""Turns at what takes long: so that one organisation's searches leave threads to the others, and to what is short.

A search of a large fleet holds one of the database's few reading threads for seconds. Each organisation runs EACH at
once, all of them TOTAL, which is less than there are threads; the rest wait, each organisation in a line of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from protocol.ids import OrganisationId
from relay.failures import Quota
from relay.store.engine import READERS

T = TypeVar("T")

TOTAL = READERS - 1
EACH = READERS // 2

MAX_WAITING = 64
"""Of one organisation. A console asks for one list at a time; more is a loop that somebody forgot."""

RETRY_S = 2.0


class _Lane:
    def __init__(self, each: int) -> None:
        self.turn = asyncio.Semaphore(each)
        self.inside = 0


class Turns:
    def __init__(self, *, total: int = TOTAL, each: int = EACH, waiting: int = MAX_WAITING) -> None:
        self._total = asyncio.Semaphore(total)
        self._each = each
        self._most = each + waiting
        self._lanes: dict[OrganisationId, _Lane] = {}

    async def run(self, organisation: OrganisationId, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` when it is the organisation's turn. Raises Quota where too many of its own wait."""
        lane = self._lanes.setdefault(organisation, _Lane(self._each))
        if lane.inside >= self._most:
            raise Quota(
                "the organisation asks for too much at once",
                organisation=organisation,
                what="searches",
                hint="Wait for the answers to what was asked before.",
                retry_after_s=RETRY_S,
            )
        lane.inside += 1
        try:
            # Its own line first: whoever stands in the common one has a turn as soon as a thread is free.
            async with lane.turn, self._total:
                return await work()
        finally:
            lane.inside -= 1
            if not lane.inside:
                del self._lanes[organisation]
