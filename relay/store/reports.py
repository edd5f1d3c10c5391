"""Reports: kept whole or not at all, once each, the newest ones of every device."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from protocol.api import SectionHead
from protocol.codec import encode
from protocol.errors import BadMessage
from protocol.ids import DeviceId, OrganisationId, Sha256, sha256
from protocol.report import Report
from protocol.statement import Signed
from relay.store import findings
from relay.store.documents import read_signed
from relay.store.findings import Found
from relay.store.tables import blob_owners, device_os, devices, report_sections, reports


class Committed(msgspec.Struct, frozen=True):
    """The report is kept, now or since before. is_new: now.  is_latest: it is the device's newest."""

    is_new: bool
    is_latest: bool


class Missing(msgspec.Struct, frozen=True):
    """These blobs have not been uploaded by this device."""

    sha256s: tuple[Sha256, ...]


class Contradicted(msgspec.Struct, frozen=True):
    """Another report was committed under this number."""


class Summary(msgspec.Struct, frozen=True):
    """What was read from a report's sections for searching, but for software (inventory.py). None: not known.

    os_text: for people.  ram: bytes.  slots_free: for memory.  signal: dBm.
    findings: None where it has no such section.  notes: sections that could not be read, and why.
    """

    hostname: str | None
    os: tuple[str, ...]
    os_text: str
    ram: int | None
    slots_free: int | None
    signal: int | None
    findings: Found | None
    notes: str


def missing_blobs(
    connection: Connection, organisation: OrganisationId, device: DeviceId, report: Report
) -> tuple[Sha256, ...]:
    """Which of the report's sections this very device has not uploaded. Raises BadMessage where a size is wrong.

    That somebody else has uploaded the same bytes does not count: whoever knows only a hash must not get the content.
    """
    wanted = {ref.sha256: ref.size for ref in report.sections.values()}
    query = select(blob_owners.c.sha256, blob_owners.c.size).where(
        blob_owners.c.organisation == organisation,
        blob_owners.c.owner == device,
        blob_owners.c.sha256.in_(list(wanted)),
    )
    held = {Sha256(name): int(size) for name, size in connection.execute(query)}
    if any(ref.size != held.get(ref.sha256, ref.size) for ref in report.sections.values()):
        raise BadMessage("a section is not as large as the report says")
    return tuple(name for name in wanted if name not in held)


def find_report(connection: Connection, organisation: OrganisationId, device: DeviceId, number: int) -> Sha256 | None:
    """The payload's hash of the report committed under this number."""
    query = select(reports.c.sha256).where(
        reports.c.organisation == organisation, reports.c.device == device, reports.c.number == number
    )
    found = (connection.execute(query)).scalar()
    return None if found is None else Sha256(found)


def commit_report(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    report: Report,
    signed: Signed,
    summary: Summary | None,
    *,
    kept: int,
    now: float,
) -> Committed | Missing | Contradicted:
    """Keep the report with all its sections. summary: None where it is not the newest, else what was read from it.

    kept: how many of the device's reports remain. A number that is older than all of those was committed and dropped,
    or is of no use any more: it counts as kept.
    """
    payload = sha256(signed.payload)
    known = find_report(connection, organisation, device, report.number)
    if known is not None:
        return Committed(False, False) if known == payload else Contradicted()
    bounds = select(func.max(reports.c.number), func.min(reports.c.number), func.count()).where(
        reports.c.organisation == organisation, reports.c.device == device
    )
    newest, oldest, held = (connection.execute(bounds)).one()
    if held >= kept and report.number < oldest:
        return Committed(False, False)
    missing = missing_blobs(connection, organisation, device, report)
    if missing:
        return Missing(missing)
    _insert(connection, organisation, device, report, signed, payload, now)
    is_latest = newest is None or report.number > newest
    if is_latest:
        _make_latest(connection, organisation, device, report.number, summary)
    _drop_old(connection, organisation, device, kept)
    return Committed(True, is_latest)


def _insert(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    report: Report,
    signed: Signed,
    payload: Sha256,
    now: float,
) -> None:
    this = {"organisation": organisation, "device": device, "number": report.number}
    connection.execute(
        insert(reports).values(
            **this, sha256=payload, signed=encode(signed), collected_at=report.collected_at, received_at=int(now)
        )
    )
    rows = [
        {**this, "name": name, "sha256": ref.sha256, "size": ref.size, "collected_at": ref.collected_at}
        for name, ref in report.sections.items()
    ]
    if rows:
        connection.execute(insert(report_sections), rows)


def _make_latest(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    number: int,
    summary: Summary | None,
) -> None:
    this = (devices.c.organisation == organisation) & (devices.c.id == device)
    if summary is None:
        connection.execute(update(devices).where(this).values(report_number=number))
        return
    values: dict[str, object] = {
        "report_number": number,
        "os": summary.os_text,
        "ram": summary.ram,
        "slots_free": summary.slots_free,
        "signal": summary.signal,
        "hostname_key": summary.hostname.lower() if summary.hostname else None,
        "notes": summary.notes,
    }
    if summary.hostname:
        values["hostname"] = summary.hostname
    connection.execute(update(devices).where(this).values(**values))
    _set_os(connection, organisation, device, summary.os)
    if summary.findings is None or not findings.is_read(connection, organisation, device, summary.findings.sha256):
        findings.put(connection, organisation, device, summary.findings)


def _set_os(connection: Connection, organisation: OrganisationId, device: DeviceId, names: tuple[str, ...]) -> None:
    this = (device_os.c.organisation == organisation) & (device_os.c.device == device)
    held = {name for (name,) in connection.execute(select(device_os.c.name).where(this))}
    if held == set(names):
        return
    connection.execute(delete(device_os).where(this))
    rows = [{"organisation": organisation, "name": name, "device": device} for name in dict.fromkeys(names)]
    if rows:
        connection.execute(insert(device_os), rows)


def _drop_old(connection: Connection, organisation: OrganisationId, device: DeviceId, kept: int) -> None:
    this = (reports.c.organisation == organisation) & (reports.c.device == device)
    nth = select(reports.c.number).where(this).order_by(reports.c.number.desc()).offset(kept - 1).limit(1)
    oldest = (connection.execute(nth)).scalar()
    if oldest is None:
        return
    connection.execute(delete(reports).where(this, reports.c.number < oldest))
    connection.execute(
        delete(report_sections).where(
            report_sections.c.organisation == organisation,
            report_sections.c.device == device,
            report_sections.c.number < oldest,
        )
    )


def report_at(connection: Connection, organisation: OrganisationId, device: DeviceId, at: int) -> Signed | None:
    """The last that was collected at `at` or before, of those that are kept."""
    query = (
        select(reports.c.signed)
        .where(reports.c.organisation == organisation, reports.c.device == device, reports.c.collected_at <= at)
        .order_by(reports.c.number.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return None if found is None else read_signed(found)


class LatestReport(msgspec.Struct, frozen=True):
    signed: Signed
    sections: tuple[SectionHead, ...]


def latest_reports(connection: Connection, organisation: OrganisationId, ids: list[str]) -> dict[str, LatestReport]:
    """The newest report of each of `ids` that has one."""
    newest = (
        select(devices.c.id, devices.c.report_number)
        .where(devices.c.organisation == organisation, devices.c.id.in_(ids), devices.c.report_number > 0)
        .subquery()
    )
    signed = select(reports.c.device, reports.c.signed).where(
        reports.c.organisation == organisation,
        reports.c.device == newest.c.id,
        reports.c.number == newest.c.report_number,
    )
    found = {device: read_signed(data) for device, data in connection.execute(signed)}
    heads: dict[str, list[SectionHead]] = {device: [] for device in found}
    query = (
        select(report_sections)
        .where(
            report_sections.c.organisation == organisation,
            report_sections.c.device == newest.c.id,
            report_sections.c.number == newest.c.report_number,
        )
        .order_by(report_sections.c.name)
    )
    for row in connection.execute(query):
        heads.setdefault(row.device, []).append(
            SectionHead(name=row.name, sha256=Sha256(row.sha256), size=row.size, collected_at=row.collected_at)
        )
    return {device: LatestReport(report, tuple(heads[device])) for device, report in found.items()}
