"""A report arrives: verified, read for searching, committed with all its sections, and only then acknowledged."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from protocol.errors import BadMessage
from protocol.facts import facts_from
from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.report import Report, open_report
from protocol.sections.base import Section
from protocol.sections.catalogue import decode_section
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.software import Software
from protocol.statement import Signed
from relay.failures import Conflict
from relay.store import blobs, reports
from relay.store.reports import Contradicted, Inventory, Missing
from relay.store.software_map import pack
from relay.store.store import MAX_NUMBER, Store, storable

SEARCHED: Mapping[str, type[Section]] = {"system": System, "memory": Memory, "software": Software}
"""The sections that selectors look at. The others are kept and handed on unread."""

MAX_NOTES_CHARS = 500


class Accepted(msgspec.Struct, frozen=True):
    """The report is committed. is_new: by this call.  is_latest: and it is the device's newest."""

    number: int
    is_new: bool
    is_latest: bool


async def accept_report(
    store: Store,
    organisation: OrganisationId,
    device: DeviceId,
    device_key: str,
    signed: Signed,
    *,
    kept: int,
    now: float,
) -> Accepted | tuple[int, Missing]:
    """Commit the report; or say, with its number, which sections have to be uploaded first.

    device_key: its public line.  kept: reports of the device that remain.
    Raises Untrusted, BadMessage, Refused; Conflict (number_reused) where another report has the number;
    StoreFailed, StoreFull: not committed, to be sent again.
    """
    report = open_report(signed, organisation=organisation, device=device, device_key=device_key)
    instants = [report.collected_at, *(ref.collected_at for ref in report.sections.values())]
    if report.number > MAX_NUMBER or not all(0 <= instant <= MAX_NUMBER for instant in instants):
        raise BadMessage("a report's number or an instant in it is out of bounds")
    read = await store.read(lambda c: _read(c, organisation, device, report))
    if isinstance(read, Missing):
        return report.number, read
    result = await store.write(
        lambda c: reports.commit_report(c, organisation, device, report, signed, read, kept=kept, now=now)
    )
    if isinstance(result, Missing):
        return report.number, result
    if isinstance(result, Contradicted):
        raise Conflict(
            "another report was committed under this number",
            code="number_reused",
            hint="The device's state was restored from an old copy, or two machines share its key.",
        )
    return Accepted(report.number, result.is_new, result.is_latest)


def _read(
    connection: Connection, organisation: OrganisationId, device: DeviceId, report: Report
) -> Inventory | Missing | None:
    """What the report says for searching; None where it is committed already and need not be read."""
    if reports.find_report(connection, organisation, device, report.number) is not None:
        return None
    missing = reports.missing_blobs(connection, organisation, device, report)
    if missing:
        return Missing(missing)
    source = reports.software_source(connection, organisation, device)
    return _inventory(connection, organisation, device, report, source)


def _inventory(
    connection: Connection, organisation: OrganisationId, device: DeviceId, report: Report, source: Sha256 | None
) -> Inventory:
    """source: the section that the kept packages came from; the same again is not read again."""
    sections: dict[str, Section] = {}
    notes: list[str] = []
    software = report.sections.get("software")
    unchanged = software is not None and software.sha256 == source
    for name in SEARCHED:
        ref = report.sections.get(name)
        if ref is None or (name == "software" and unchanged):
            continue
        data = blobs.read_whole(connection, organisation, ref.sha256)
        try:
            sections[name] = decode_section(name, data if data is not None else b"")
        except BadMessage as exc:
            # What cannot be read is still kept and shown as what the device signed; it is only not searched.
            notes.append(f"{name}: {exc.message}")
    facts = facts_from(device, sections, tags=None)
    system = sections.get("system")
    ram = facts.ram_bytes if facts.ram_bytes is not None and 0 <= facts.ram_bytes < 2**62 else None
    read = software is not None and (unchanged or facts.software is not None)
    return Inventory(
        hostname=storable(facts.hostname, 255) or None if facts.hostname else None,
        os=tuple(storable(name, 64) for name in facts.os),
        os_text=_os_text(system) if isinstance(system, System) else "",
        ram=ram,
        slots_free=facts.slots_free,
        software=software.sha256 if software is not None and read else None,
        packages=None if unchanged or facts.software is None else pack(facts.software),
        notes=storable("; ".join(notes), MAX_NOTES_CHARS),
    )


def _os_text(system: System) -> str:
    return storable(system.os_name or f"{system.os_id} {system.os_version}".strip() or system.family, 200)
