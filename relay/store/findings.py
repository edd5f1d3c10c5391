"""What devices found wrong with themselves, read from their reports so that a fleet is searched by it, worst first."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, func, insert, select, tuple_, update

from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.sections.findings import MAX_FINDINGS, MAX_SUBJECT_CHARS, SEVERITIES, Findings
from relay.store import last_sections
from relay.store.store import storable, storable_number
from relay.store.tables import device_findings, devices, findings

CODE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}\Z")
"""What a selector can name. A finding by another name is left in its section."""

SECTION = "findings"


class Found(msgspec.Struct, frozen=True):
    """A section of findings as it was read. section: None where it could not be."""

    sha256: Sha256
    section: Findings | None


class Place(msgspec.Struct, frozen=True):
    """Where in the list a page ended: the last row's sort key."""

    rank: int
    code: str
    device: str
    subject: str


def is_read(connection: Connection, organisation: OrganisationId, device: DeviceId, sha256: Sha256) -> bool:
    """Whether the rows are those of this section."""
    query = select(device_findings.c.sha256).where(_of(device_findings, organisation, device))
    return bool(connection.execute(query).scalar() == sha256)


def put(connection: Connection, organisation: OrganisationId, device: DeviceId, found: Found | None) -> None:
    """Make the rows those of the device's last report, touching only those that differ. found: None where it has no
    such section."""
    held = {
        (row.code, row.subject): (row.rank, row.since_at)
        for row in connection.execute(select(findings).where(_of(findings, organisation, device)))
    }
    wanted = _rows(found.section) if found is not None and found.section is not None else {}
    this = {"of_organisation": organisation, "of_device": device}
    gone = [{**this, "of_code": code, "of_subject": subject} for code, subject in held if (code, subject) not in wanted]
    new = [
        {"organisation": organisation, "device": device, "code": code, "subject": subject, "rank": rank, "since_at": at}
        for (code, subject), (rank, at) in wanted.items()
        if (code, subject) not in held
    ]
    changed = [
        {**this, "of_code": code, "of_subject": subject, "to_rank": rank, "to_at": at}
        for (code, subject), (rank, at) in wanted.items()
        if held.get((code, subject), (rank, at)) != (rank, at)
    ]
    for statement, values in ((_DELETE, gone), (insert(findings), new), (_UPDATE, changed)):
        if values:
            connection.execute(statement, values)
    _mark(connection, organisation, device, found)


def put_if_last(connection: Connection, organisation: OrganisationId, device: DeviceId, found: Found) -> None:
    """As `put`, unless the device's last report names another section by now."""
    if last_sections.reported(connection, organisation, device, SECTION) == found.sha256:
        put(connection, organisation, device, found)


def _rows(section: Findings) -> dict[tuple[str, str], tuple[int, int | None]]:
    """(code, subject) to (rank, since); of two of a code and subject the worse one."""
    rows: dict[tuple[str, str], tuple[int, int | None]] = {}
    for finding in section.findings[:MAX_FINDINGS]:
        if not CODE.match(finding.code):
            continue
        at = None if finding.since_at is None else storable_number(finding.since_at)
        key = (finding.code, storable(finding.subject, MAX_SUBJECT_CHARS))
        row = (SEVERITIES.index(finding.severity), at)
        if key not in rows or row[0] < rows[key][0]:
            rows[key] = row
    return rows


def _mark(connection: Connection, organisation: OrganisationId, device: DeviceId, found: Found | None) -> None:
    connection.execute(delete(device_findings).where(_of(device_findings, organisation, device)))
    if found is not None:
        known = found.section is not None
        connection.execute(
            insert(device_findings).values(organisation=organisation, device=device, sha256=found.sha256, known=known)
        )


def _of(table: Any, organisation: OrganisationId, device: DeviceId) -> ColumnElement[bool]:
    return and_(table.c.organisation == organisation, table.c.device == device)


_THIS = and_(
    findings.c.organisation == bindparam("of_organisation"),
    findings.c.device == bindparam("of_device"),
    findings.c.code == bindparam("of_code"),
    findings.c.subject == bindparam("of_subject"),
)
_DELETE = delete(findings).where(_THIS)
_UPDATE = update(findings).where(_THIS).values(rank=bindparam("to_rank"), since_at=bindparam("to_at"))


def codes_of(connection: Connection, organisation: OrganisationId, ids: list[str]) -> dict[str, frozenset[str]]:
    """Of those of the devices `ids` whose findings are known."""
    known = select(device_findings.c.device).where(
        device_findings.c.organisation == organisation,
        device_findings.c.device.in_(ids),
        device_findings.c.known.is_(True),
    )
    found: dict[str, set[str]] = {device: set() for device in connection.execute(known).scalars()}
    query = select(findings.c.device, findings.c.code).where(
        findings.c.organisation == organisation, findings.c.device.in_(list(found))
    )
    for device, code in connection.execute(query):
        found[device].add(code)
    return {device: frozenset(codes) for device, codes in found.items()}


# -- the list -------------------------------------------------------------------------------------------------------


class FindingsPage(msgspec.Struct, frozen=True):
    """rows: of `findings`, worst first.  next: None where nothing follows.  total, counts: over all pages; counts: of
    each code its rank, its findings and the devices that have it, the worst and most frequent first."""

    rows: tuple[Row[Any], ...]
    next: Place | None
    total: int
    counts: tuple[tuple[str, int, int, int], ...]


_JOINED = findings.join(
    devices, and_(devices.c.organisation == findings.c.organisation, devices.c.id == findings.c.device)
)
_ORDER = (findings.c.rank, findings.c.code, findings.c.device, findings.c.subject)


def list_findings(
    connection: Connection, where: ColumnElement[bool], ids: frozenset[str] | None, *, after: Place | None, limit: int
) -> FindingsPage:
    """where: of `devices` and `findings`.  ids: where it only narrows down, the devices that are meant."""
    if ids is not None:
        return _by_scan(connection, where, ids, after, limit)
    query = select(findings).select_from(_JOINED).where(where).order_by(*_ORDER).limit(limit + 1)
    if after is not None:
        query = query.where(tuple_(*_ORDER) > tuple_(after.rank, after.code, after.device, after.subject))
    counted = (
        select(findings.c.code, findings.c.rank, func.count(), func.count(findings.c.device.distinct()))
        .select_from(_JOINED)
        .where(where)
        .group_by(findings.c.code, findings.c.rank)
    )
    counts = [(code, rank, count, held) for code, rank, count, held in connection.execute(counted)]
    return _page(list(connection.execute(query).all()), limit, counts)


def _by_scan(
    connection: Connection, where: ColumnElement[bool], ids: frozenset[str], after: Place | None, limit: int
) -> FindingsPage:
    query = select(findings).select_from(_JOINED).where(where).order_by(*_ORDER)
    place = None if after is None else (after.rank, after.code, after.device, after.subject)
    rows: list[Row[Any]] = []
    counts: dict[tuple[str, int], tuple[int, set[str]]] = {}
    for row in connection.execute(query):
        if row.device not in ids:
            continue
        count, held = counts.setdefault((row.code, row.rank), (0, set()))
        held.add(row.device)
        counts[row.code, row.rank] = (count + 1, held)
        if len(rows) <= limit and (place is None or (row.rank, row.code, row.device, row.subject) > place):
            rows.append(row)
    return _page(rows, limit, [(code, rank, n, len(held)) for (code, rank), (n, held) in counts.items()])


def _page(rows: list[Row[Any]], limit: int, counts: list[tuple[str, int, int, int]]) -> FindingsPage:
    last = rows[limit - 1] if len(rows) > limit else None
    return FindingsPage(
        rows=tuple(rows[:limit]),
        next=None if last is None else Place(last.rank, last.code, last.device, last.subject),
        total=sum(count for _, _, count, _ in counts),
        counts=tuple(sorted(counts, key=lambda one: (one[1], -one[3], one[0]))),
    )
