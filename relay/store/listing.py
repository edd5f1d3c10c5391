"""Lists of devices: whoever a technician may see, by selector, a page at a time.

What SQL can decide is decided there (selection.py). Where it only narrows down, `matches` decides on each row, in
batches with room for other work between them; memory is bounded by a batch and a page, whatever the fleet's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, and_, func, or_, select

from protocol.api import Device, Presence
from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.link import PolicyNumber
from protocol.selector import Facts, Selector, matches
from protocol.technician import Technician
from relay.store.devices import tags_of
from relay.store.documents import read_signed
from relay.store.findings import codes_of
from relay.store.inventory import WHOLE
from relay.store.reports import latest_reports
from relay.store.selection import Clause, narrow
from relay.store.software import Named
from relay.store.tables import device_os, devices, inventories, inventory_packages

BATCH = 64
"""Rows whose facts are in memory at once. Nothing else runs while a batch is decided on: 20 ms."""


class Page(msgspec.Struct, frozen=True):
    """rows: of `devices`.  next: the last row's id, or None where nothing follows."""

    rows: tuple[Row[Any], ...]
    next: str | None
    total: int


def may_see(technician: Technician, device: DeviceId, signed: frozenset[str], suggested: frozenset[str] | None) -> bool:
    """Whether the device is in the technician's scope.

    suggested: of a provisional device, else None: who may approve sees the provisional ones that would come into
    their scope; nobody else's scope covers a device without signed tags, unless it names the id or is `all`.
    """
    if matches(technician.scope, Facts(id=device, tags=signed)):
        return True
    if suggested is None or "approve" not in technician.rights:
        return False
    return matches(technician.scope, Facts(id=device, tags=suggested))


def visible(connection: Connection, technician: Technician, organisation: OrganisationId, row: Row[Any]) -> bool:
    signed, suggested = (tags_of(connection, organisation, [row.id]))[row.id]
    return may_see(technician, DeviceId(row.id), signed, None if row.record_number else suggested)


def list_devices(
    connection: Connection,
    organisation: OrganisationId,
    technician: Technician,
    selector: Selector,
    *,
    after: str | None,
    limit: int,
) -> Page:
    """Devices in the technician's scope that `selector` selects, by id. after: the id that the last page ended with."""
    where, exact = _where(connection, organisation, technician, selector)
    if exact:
        return _page_by_sql(connection, where, after, limit)
    return _page_by_scan(connection, organisation, technician, selector, where, after, limit)


def select_devices(
    connection: Connection, organisation: OrganisationId, technician: Technician, selector: Selector
) -> tuple[Clause, frozenset[str] | None]:
    """As list_devices, as a clause of `devices`; and where that only narrows down, the ids that are meant."""
    where, exact = _where(connection, organisation, technician, selector)
    if exact:
        return where, None
    return where, frozenset(row.id for row in _scan(connection, organisation, technician, selector, where))


def _where(
    connection: Connection, organisation: OrganisationId, technician: Technician, selector: Selector
) -> tuple[Clause, bool]:
    wanted = narrow(connection, selector, organisation)
    scope, scope_exact = _scope(connection, technician, organisation)
    where = and_(devices.c.organisation == organisation, devices.c.revoked.is_(False), scope, wanted.is_true)
    return where, wanted.exact and scope_exact


def _scope(connection: Connection, technician: Technician, organisation: OrganisationId) -> tuple[Clause, bool]:
    signed = narrow(connection, technician.scope, organisation)
    if "approve" not in technician.rights:
        return signed.is_true, signed.exact
    suggested = narrow(connection, technician.scope, organisation, suggested=True)
    also = and_(devices.c.record_number == 0, suggested.is_true)
    return or_(signed.is_true, also), signed.exact and suggested.exact


def _rows(where: Clause, after: str | None, limit: int) -> Select[Any]:
    query = select(devices).where(where).order_by(devices.c.id).limit(limit)
    return query if after is None else query.where(devices.c.id > after)


def _page_by_sql(connection: Connection, where: Clause, after: str | None, limit: int) -> Page:
    total = int((connection.execute(select(func.count()).select_from(devices).where(where))).scalar_one())
    rows = (connection.execute(_rows(where, after, limit + 1))).all()
    more = len(rows) > limit
    return Page(tuple(rows[:limit]), rows[limit - 1].id if more else None, total)


def _page_by_scan(
    connection: Connection,
    organisation: OrganisationId,
    technician: Technician,
    selector: Selector,
    where: Clause,
    after: str | None,
    limit: int,
) -> Page:
    found: list[Row[Any]] = []
    total = 0
    for row in _scan(connection, organisation, technician, selector, where):
        total += 1
        if (after is None or row.id > after) and len(found) <= limit:
            found.append(row)
    more = len(found) > limit
    return Page(tuple(found[:limit]), found[limit - 1].id if more else None, total)


def _scan(
    connection: Connection,
    organisation: OrganisationId,
    technician: Technician,
    selector: Selector,
    where: Clause,
) -> Iterator[Row[Any]]:
    """The rows that `matches` selects of those to which `where` narrows down."""
    named = Named(connection, organisation, selector)
    last: str | None = None
    while True:
        batch = (connection.execute(_rows(where, last, BATCH))).all()
        facts = _facts(connection, organisation, batch, named)
        for row in batch:
            known, suggested = facts[row.id]
            signed = known.tags or frozenset()
            if not may_see(technician, DeviceId(row.id), signed, None if row.record_number else suggested):
                continue
            if matches(selector, known):
                yield row
        if len(batch) < BATCH:
            return
        last = batch[-1].id


def _facts(
    connection: Connection, organisation: OrganisationId, rows: Any, named: Named
) -> dict[str, tuple[Facts, frozenset[str]]]:
    """Of each row: what a selector looks at, and the suggested tags."""
    ids = [row.id for row in rows]
    tags = tags_of(connection, organisation, ids)
    names: dict[str, list[str]] = {id_: [] for id_ in ids}
    query = select(device_os.c.device, device_os.c.name).where(
        device_os.c.organisation == organisation, device_os.c.device.in_(ids)
    )
    for device, name in connection.execute(query):
        names[device].append(name)
    software = (
        select(inventories.c.device, inventory_packages.c.packages)
        .select_from(WHOLE)
        .where(inventories.c.organisation == organisation, inventories.c.device.in_(ids), inventories.c.known.is_(True))
    )
    packages = {device: named.of(packed) for device, packed in connection.execute(software)}
    found = codes_of(connection, organisation, ids)
    return {
        row.id: (
            Facts(
                id=row.id,
                tags=tags[row.id][0],
                provisional=row.record_number == 0,
                online=row.online,
                hostname=row.hostname_key,
                os=tuple(names[row.id]),
                ram_bytes=row.ram,
                slots_free=row.slots_free,
                signal_dbm=row.signal,
                software=packages.get(row.id),
                findings=found.get(row.id),
            ),
            tags[row.id][1],
        )
        for row in rows
    }


def present(
    connection: Connection, organisation: OrganisationId, rows: tuple[Row[Any], ...], now: float
) -> tuple[Device, ...]:
    """The rows as the API shows them."""
    ids = [row.id for row in rows]
    tags = tags_of(connection, organisation, ids)
    reports = latest_reports(connection, organisation, ids)
    shown: list[Device] = []
    for row in rows:
        report = reports.get(row.id)
        shown.append(
            Device(
                id=DeviceId(row.id),
                device_key=row.key,
                enrolment=read_signed(row.enrolment),
                enrolled_at=row.enrolled_at,
                suggested_tags=tuple(sorted(tags[row.id][1])),
                record=None if row.record is None else read_signed(row.record),
                report=None if report is None else report.signed,
                sections=() if report is None else report.sections,
                presence=_presence(row, now),
                hostname=row.hostname,
                os=row.os,
                ram=row.ram or 0,
            )
        )
    return tuple(shown)


def _presence(row: Row[Any], now: float) -> Presence:
    return Presence(
        online=row.online,
        since_at=row.since_at,
        last_seen_at=int(now) if row.online else row.last_seen_at,
        address=row.address,
        agent=row.agent,
        charter=row.held_charter,
        policy=PolicyNumber(epoch=row.held_epoch, number=row.held_policy),
        offline_reason=row.offline_reason,
        offline_since_at=row.offline_since_at,
        forks=tuple(Sha256(name) for name in row.forks.split()),
    )
