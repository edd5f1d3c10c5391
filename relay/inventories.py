"""What devices have installed, brought in step with their last reports: behind the reports, and behind everybody else.

    a report is committed -> its device stands in line -> its section is read and compared -> what differs is written

Nobody waits for it: a report is acknowledged once it is committed, and what is searched follows within moments. Where
the relay ends in between, the devices that are behind are found again at the next start.
"""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
from sqlalchemy import Connection

from protocol.errors import AuxilioError, BadMessage
from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.sections.catalogue import decode_section
from protocol.sections.findings import Findings
from protocol.sections.software import MAX_PACKAGES, Software
from relay import logs
from relay.admission import Buckets
from relay.store import blobs, findings, inventory, last_sections
from relay.store.findings import Found
from relay.store.inventory import Inventory, Keys, fault_of, rows_of
from relay.store.store import Store
from relay.store.tables import device_findings, inventories

WORKERS = 4
"""Devices at once: what they write shares a sync to disk."""

READING = 2
"""Of them that read at once: the database has few reading threads, and a search is not to wait for them."""

MAX_BEHIND = 10_000
"""Devices that are looked for at once; the next look finds the others."""

REWRITES = 4 * MAX_PACKAGES
"""Links of one device, written one after the other as fast as its reports come: its whole inventory four times."""

LINKS_PER_S = 100.0
"""And from then on. An upgrade of everything is 4,000 links; who says something else all the time waits for others."""

READING_COST = 500
"""In links, what it takes to read a section, however little differs."""

MAX_PACED = 20_000
"""Devices of which it is known how much they have written of late."""

RETRY_S = 10.0
"""After the database did not take it, a full disk for example."""

Key = tuple[OrganisationId, DeviceId]


class Inventories:
    """`run` in a task of its own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._line: dict[Key, None] = {}
        self._busy = 0
        self._come = asyncio.Event()
        self._reading = asyncio.Semaphore(READING)
        self._keys = Keys()
        self._pace = Buckets(per_s=LINKS_PER_S, burst=REWRITES, limit=MAX_PACED)
        self._later: set[Key] = set()

    def __len__(self) -> int:
        """Devices that are not yet in step."""
        return len(self._line) + len(self._later) + self._busy

    def follow(self, key: Key) -> None:
        """The device's last report may say something else than before. One that wrote much of late has to wait."""
        if key in self._later:
            return
        loop = asyncio.get_running_loop()
        if wait_s := self._pace.wait_s(_name(key), loop.time()):
            self._later.add(key)
            loop.call_later(wait_s, self._return, key)
            return
        self._line[key] = None
        self._come.set()

    def _return(self, key: Key) -> None:
        self._later.discard(key)
        self.follow(key)

    async def look_behind(self) -> None:
        """Put those in line who are behind."""
        for name, read in ((inventory.SECTION, inventories), (findings.SECTION, device_findings)):
            found = await self._store.read(partial(last_sections.behind, name=name, read=read, limit=MAX_BEHIND))
            for key in found:
                self.follow(key)

    async def drop_unused(self) -> None:
        """Drop the packages that no device has any more. In small steps, so that reports pass."""
        while found := await self._store.read(inventory.unused):
            await self._store.write_bulk(partial(inventory.drop_unused, keys=found), len(found))
            self._keys.forget()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            while not self._line:
                self._come.clear()
                await self._come.wait()
            key = next(iter(self._line))
            del self._line[key]
            self._busy += 1
            try:
                await self._bring_up(key)
            except AuxilioError as exc:
                logs.warning("inventory_behind", device=key[1], reason=exc.reason, error=exc.message)
                await asyncio.sleep(RETRY_S)
                self.follow(key)
            finally:
                self._busy -= 1

    async def _bring_up(self, key: Key) -> None:
        async with self._reading:
            late = await self._store.read(lambda c: _late_findings(c, key))
        if late is not None:
            await self._store.write(lambda c: findings.put_if_last(c, *key, late))
        done = False
        while not done:
            async with self._reading:
                wanted = await self._store.read(lambda c: _prepare(c, key, self._keys))
            if wanted is None:
                return
            rows = min(wanted.changes, inventory.MAX_CHANGES)
            self._pace.take(_name(key), asyncio.get_running_loop().time(), READING_COST + rows)
            done = await self._store.write_bulk(partial(_apply, key=key, wanted=wanted), rows)


def _name(key: Key) -> str:
    return " ".join(key)


def _prepare(connection: Connection, key: Key, known: Keys) -> Inventory | None:
    """None where there is nothing to do."""
    sha256 = last_sections.reported(connection, *key, inventory.SECTION)
    if inventory.is_read(connection, *key, sha256):
        return None
    section = _section(connection, key[0], inventory.SECTION, sha256) if sha256 else None
    software = section if isinstance(section, Software) and section.systems else None
    fault = fault_of(software) if software is not None else ""
    rows = rows_of(software) if software is not None and not fault else None
    return inventory.prepare(connection, *key, sha256, rows, known, fault)


def _apply(connection: Connection, key: Key, wanted: Inventory) -> bool:
    return inventory.apply(connection, *key, wanted)


def _late_findings(connection: Connection, key: Key) -> Found | None:
    """Those of the last report, where they were not read when it came."""
    sha256 = last_sections.reported(connection, *key, findings.SECTION)
    if not sha256 or findings.is_read(connection, *key, sha256):
        return None
    section = _section(connection, key[0], findings.SECTION, sha256)
    return Found(sha256, section if isinstance(section, Findings) else None)


def _section(connection: Connection, organisation: OrganisationId, name: str, sha256: Sha256) -> msgspec.Struct | None:
    """None where it cannot be read: it is still kept and shown as what the device signed."""
    data = blobs.read_whole(connection, organisation, sha256)
    try:
        return decode_section(name, data if data is not None else b"")
    except BadMessage:
        return None
