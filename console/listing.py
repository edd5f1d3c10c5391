"""Pages of devices from the relay, judged one by one: a hundred thousand are never in memory at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

from console.fleet import JudgedDevice, judge
from console.known_devices import KnownDevices
from console.signed_in import Desk
from protocol.api import MAX_PAGE


class Listing:
    """Devices that `query` (a selector, "" for all) matches. limit: of rows; None: all.  total: as the relay counts."""

    def __init__(self, desk: Desk, query: str = "", limit: int | None = None) -> None:
        self.desk = desk
        self.total = 0
        self.faults: list[str] = []
        self._query = query
        self._limit = limit
        self._known = KnownDevices(desk.home)

    async def rows(self) -> AsyncIterator[JudgedDevice]:
        after: str | None = None
        given = 0
        while True:
            wanted = MAX_PAGE if self._limit is None else min(MAX_PAGE, self._limit - given)
            page = await self.desk.relay.devices(self._query, after, wanted)
            self.total = page.total
            for told in page.devices[:wanted]:
                judged = judge(told, self.desk.trust, self._known)
                for fault in (judged.record_fault, judged.report_fault):
                    if fault is not None:
                        self.faults.append(f"{judged.id}: {fault}")
                given += 1
                yield judged
            if page.next is None or page.next == after or not page.devices or given == self._limit:
                return
            after = page.next

    def finish(self) -> None:
        self._known.save()
        for fault in self.faults[:10]:
            self.desk.say(fault)
        if len(self.faults) > 10:
            self.desk.say(f"and {len(self.faults) - 10} more devices whose documents do not verify")
