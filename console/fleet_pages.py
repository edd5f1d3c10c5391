"""Lists over the whole fleet, page by page, each device judged; and what of a list its devices themselves have signed.

the relay's row  --the device's signed report--> the section's hash --> its bytes --> says so, too, or does not
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable
from typing import Generic, TypeVar

import msgspec

from console.fleet import JudgedDevice, fetch_section, judge
from console.known_devices import KnownDevices
from console.signed_in import Desk
from protocol.api import MAX_PAGE
from protocol.errors import AuxilioError, PeerFault
from protocol.fleet import FindingsPage, SoftwarePage
from protocol.ids import DeviceId, Sha256
from protocol.report import SectionRef
from protocol.sections.base import Section

P = TypeVar("P", SoftwarePage, FindingsPage)
T = TypeVar("T")
K = TypeVar("K")

MAX_ROWS_IN_ALL = 1_000_000
"""Ten of each of 100,000 devices: no list that somebody reads is longer."""

AT_ONCE = 8
"""Sections that are fetched at the same time: a list of 200 over a line of 100 ms takes 3 s and not 20."""


class Pages(Generic[P]):
    """fetch: a page, from a place on and of so many rows.  limit: of them in all; None: every page there is.

    devices: those of the pages so far, judged.  first: the first page, which has the counts over all of them.
    """

    def __init__(
        self, desk: Desk, fetch: Callable[[str | None, int], Awaitable[P]], *, limit: int | None, within: int = MAX_PAGE
    ) -> None:
        self.desk = desk
        self.devices: dict[DeviceId, JudgedDevice] = {}
        self.first: P | None = None
        self._fetch: Callable[[str | None, int], Awaitable[P]] = fetch
        self._limit = limit
        self._within = within
        self._known = KnownDevices(desk.home)

    async def pages(self) -> AsyncIterator[P]:
        after: str | None = None
        given = 0
        while True:
            wanted = self._within if self._limit is None else min(self._within, self._limit - given)
            page = await self._fetch(after, wanted)
            self.first = self.first or page
            for told in page.devices:
                self.devices[told.id] = judge(told, self.desk.trust, self._known)
            given += max(1, len(page.devices) if isinstance(page, SoftwarePage) else len(page.rows))
            yield page
            if page.next is None or page.next == after or not page.rows:
                return
            if given > MAX_ROWS_IN_ALL:
                raise PeerFault("the relay's list has no end", code="endless_list")
            if self._limit is not None and given >= self._limit:
                return
            after = page.next

    def finish(self) -> None:
        self._known.save()


class Word(msgspec.Struct, frozen=True):
    """Who says so: the device, by its signature, or the relay alone. fault: why the device cannot be asked, or does
    not say so; None where nobody looked."""

    by_device: bool
    fault: str | None = None

    @property
    def name(self) -> str:
        return "device" if self.by_device else "relay"


UNASKED = Word(by_device=False)


class Fault(msgspec.Struct, frozen=True):
    """Why it cannot be told what a device says."""

    text: str


class SignedSections(Generic[T]):
    """What devices themselves say in their section `name`, as far as `look` looks at it. Each section is fetched once,
    however many devices say the same, and whatever pages they are on."""

    def __init__(self, desk: Desk, name: str, look: Callable[[Section], T]) -> None:
        self._desk = desk
        self._name = name
        self._look = look
        self._seen: dict[Sha256, T | Fault] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    async def read(self, devices: Iterable[JudgedDevice]) -> dict[DeviceId, T | Fault]:
        refs = {device.id: self._ref(device) for device in devices}
        new = {ref.sha256: ref for ref in refs.values() if isinstance(ref, SectionRef)}
        async with asyncio.TaskGroup() as tasks:
            for sha256 in new.keys() - self._seen.keys():
                tasks.create_task(self._fetch(new[sha256]))
        return {device: self._seen[ref.sha256] if isinstance(ref, SectionRef) else ref for device, ref in refs.items()}

    def _ref(self, device: JudgedDevice) -> SectionRef | Fault:
        if device.report is None:
            return Fault(device.report_fault or "the relay shows no report of it")
        ref = device.report.sections.get(self._name)
        return Fault(f"its report has no section {self._name}") if ref is None else ref

    async def _fetch(self, ref: SectionRef) -> None:
        async with self._places:
            try:
                self._seen[ref.sha256] = self._look(await fetch_section(self._desk, self._name, ref))
            except AuxilioError as exc:
                self._seen[ref.sha256] = Fault(exc.message)


def word(says: Container[K] | Fault | None, row: K, fault: str) -> Word:
    """Whose word a row is, by what its device says: None: nobody asked it.  fault: where it does not say so, too."""
    if says is None:
        return UNASKED
    if isinstance(says, Fault):
        return Word(by_device=False, fault=says.text)
    return Word(by_device=True) if row in says else Word(by_device=False, fault=fault)
