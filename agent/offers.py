"""Session offers on their way to the desk: one that comes right behind a document waits until that was looked at.

A relay announces a record or policy and then offers a session, in this order; the document is fetched meanwhile. An
admin who approves a device and reaches it at once would meet one that is still provisional.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.admission import MAX_SESSIONS
from agent.fetching import Fetcher
from protocol.ids import SessionId
from protocol.link import SessionOffer

WAIT_S = 5.0
"""At most: a relay that announces what it does not hand out does not keep sessions waiting for longer."""

MAX_WAITING = 2 * MAX_SESSIONS
"""As many as the desk has in hand. What a relay sends beyond is dropped: let in at once, it would be judged by rules
that the document may just have changed, and whoever was revoked would only have to ask often enough."""


class Offers:
    """`run` until cancelled."""

    def __init__(self, fetcher: Fetcher, deliver: Callable[[SessionOffer], None]) -> None:
        self._fetcher = fetcher
        self._deliver = deliver
        self._waiting: list[SessionOffer] = []
        self._wake = asyncio.Event()

    def offer(self, offer: SessionOffer) -> None:
        if self._fetcher.is_settled and not self._waiting:
            self._deliver(offer)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(offer)
            self._wake.set()

    def withdraw(self, session: SessionId) -> None:
        """Forget an offer that still waits here: nobody is behind it any more."""
        self._waiting = [offer for offer in self._waiting if offer.session != session]

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._fetcher.settled(WAIT_S)
            waiting, self._waiting = self._waiting, []
            for offer in waiting:
                self._deliver(offer)
