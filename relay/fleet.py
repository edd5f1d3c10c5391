"""What a technician asks of a whole fleet: put together from the rows, each device shown as everywhere."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, and_, select

from protocol.api import MAX_LIST_BYTES, Device
from protocol.codec import encode
from protocol.fleet import (
    MAX_ROWS_EACH,
    MAX_VERSIONS,
    FindingCount,
    FindingRow,
    FindingsPage,
    PackageRow,
    SoftwarePage,
    VersionCount,
)
from protocol.ids import DeviceId
from protocol.sections.findings import SEVERITIES
from protocol.selector import And, Selector, Software
from relay.logins import Login
from relay.store import findings, listing, software
from relay.store.findings import Place
from relay.store.software import Version
from relay.store.tables import devices
from relay.store.tables import findings as finding_rows

PAGE_BYTES = MAX_LIST_BYTES // 2
"""Of a page, about: the device that goes beyond it is the next page's first. A console reads twice as much at most."""


class SoftwareAsked(msgspec.Struct, frozen=True):
    term: Software
    selector: Selector

    @property
    def tree(self) -> Selector:
        return And((self.term, *(self.selector.terms if isinstance(self.selector, And) else (self.selector,))))


class FindingsAsked(msgspec.Struct, frozen=True):
    """code: None: any.  rank: the mildest of SEVERITIES that is wanted."""

    selector: Selector
    code: str | None
    rank: int


def search_software(
    connection: Connection,
    login: Login,
    asked: SoftwareAsked,
    *,
    after: str | None,
    limit: int,
    now: float,
    rows_each: int | None = MAX_ROWS_EACH,
) -> SoftwarePage:
    """rows_each: of a device at most; None: all that it has (inventory.MAX_VERSIONS)."""
    organisation = login.organisation
    page = listing.list_devices(connection, organisation, login.technician, asked.tree, after=after, limit=limit)
    known = software.versions(connection, organisation, asked.term)
    keys, _ = software.fitting(known, asked.term)
    held = software.having(connection, organisation, [row.id for row in page.rows], keys)
    versions = _counts(connection, login, asked, known, keys) if after is None else ()
    first = versions[:MAX_VERSIONS]
    left = PAGE_BYTES - len(encode(first))
    rows: list[PackageRow] = []
    shown: list[Device] = []
    more: dict[DeviceId, int] = {}
    for device in listing.present(connection, organisation, page.rows, now):
        its = held.get(device.id, [])
        these = [_package(device.id, device.hostname, known[key]) for key in its[:rows_each]]
        left -= len(encode((device, *these)))
        if left < 0 and shown:
            break
        rows += these
        shown.append(device)
        if len(its) > len(these):
            more[device.id] = len(its) - len(these)
    return SoftwarePage(
        rows=tuple(rows),
        devices=tuple(shown),
        more_rows=more,
        versions=first,
        more_versions=len(versions) - len(first),
        next=shown[-1].id if len(shown) < len(page.rows) else page.next,
        total=page.total,
    )


def _package(device: str, hostname: str, version: Version) -> PackageRow:
    return PackageRow(
        device=DeviceId(device),
        hostname=hostname,
        name=version.name,
        version=version.version,
        system=version.system,
        source=version.source,
    )


def _counts(
    connection: Connection, login: Login, asked: SoftwareAsked, known: dict[int, Version], keys: list[int]
) -> tuple[VersionCount, ...]:
    """Of the devices that are asked for. Two sources of the same version are one."""
    where, ids = listing.select_devices(connection, login.organisation, login.technician, asked.tree)
    groups = {key: (known[key].name, known[key].version, known[key].system) for key in keys}
    counts = software.count(connection, where, ids, groups)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return tuple(
        VersionCount(name=name, version=version, system=system, devices=count)
        for (name, version, system), count in ordered
    )


def list_findings(
    connection: Connection, login: Login, asked: FindingsAsked, *, after: Place | None, limit: int, now: float
) -> FindingsPage:
    where, ids = listing.select_devices(connection, login.organisation, login.technician, asked.selector)
    where = and_(where, finding_rows.c.rank <= asked.rank)
    if asked.code is not None:
        where = and_(where, finding_rows.c.code == asked.code)
    page = findings.list_findings(connection, where, ids, after=after, limit=limit)
    shown = _shown(connection, login, sorted({row.device for row in page.rows}), now)
    names = {device.id: device.hostname for device in shown}
    counts = [
        FindingCount(code=code, severity=SEVERITIES[rank], findings=count, devices=held)
        for code, rank, count, held in page.counts
    ]
    return FindingsPage(
        rows=tuple(
            FindingRow(
                device=DeviceId(row.device),
                hostname=names[DeviceId(row.device)],
                code=row.code,
                severity=SEVERITIES[row.rank],
                subject=row.subject,
                since_at=row.since_at,
            )
            for row in page.rows
        ),
        devices=shown,
        counts=tuple(counts) if after is None else (),
        next=None if page.next is None else _text(page.next),
        total=page.total,
    )


def _shown(connection: Connection, login: Login, ids: list[str], now: float) -> tuple[Device, ...]:
    query = select(devices).where(devices.c.organisation == login.organisation, devices.c.id.in_(ids))
    rows = connection.execute(query.order_by(devices.c.id)).all()
    return listing.present(connection, login.organisation, tuple(rows), now)


def _text(place: Place) -> str:
    """A code holds no colon; a subject may, and comes last."""
    return f"{place.rank}:{place.code}:{place.device}:{place.subject}"
