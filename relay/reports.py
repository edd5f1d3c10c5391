"""A report arrives: verified, read for searching, committed with all its sections, and only then acknowledged."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection

from protocol.codec import decode
from protocol.errors import BadMessage
from protocol.facts import facts_from
from protocol.ids import DeviceId, OrganisationId
from protocol.report import Report, open_report
from protocol.sections.base import MAX_SECTION_BYTES, Section
from protocol.sections.findings import Findings
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.modem import Modems
from protocol.statement import Signed
from relay.failures import Conflict
from relay.inventories import Inventories, Key
from relay.store import blobs, inventory, reports
from relay.store.findings import Found
from relay.store.last_sections import MAX_NOTES_CHARS
from relay.store.reports import Contradicted, Missing, Summary
from relay.store.store import MAX_NUMBER, Store, storable

SEARCHED: Mapping[str, type[Section]] = {
    "system": System,
    "memory": Memory,
    "modem": Modems,
    "findings": Findings,
}
"""The sections that selectors look at, as far as they do; software is read later (inventories.py). The others are kept
and handed on unread."""


class Accepted(msgspec.Struct, frozen=True):
    """The report is committed. is_new: by this call.  is_latest: and it is the device's newest."""

    number: int
    is_new: bool
    is_latest: bool


class Reports:
    """kept: reports of each device that remain."""

    def __init__(self, store: Store, inventories: Inventories, *, kept: int) -> None:
        self._store = store
        self._inventories = inventories
        self._kept = kept

    async def accept(self, key: Key, device_key: str, signed: Signed, now: float) -> Accepted | tuple[int, Missing]:
        """Commit the report; or say, with its number, which sections have to be uploaded first.

        key: whose it is, who proved it.  device_key: its public line.
        Raises Untrusted, BadMessage, Refused; Conflict (number_reused) where another report has the number;
        StoreFailed, StoreFull: not committed, to be sent again.
        """
        organisation, device = key
        report = open_report(signed, organisation=organisation, device=device, device_key=device_key)
        instants = [report.collected_at, *(ref.collected_at for ref in report.sections.values())]
        if report.number > MAX_NUMBER or not all(0 <= instant <= MAX_NUMBER for instant in instants):
            raise BadMessage("a report's number or an instant in it is out of bounds")
        read = await self._store.read(lambda c: _read(c, organisation, device, report))
        if isinstance(read, Missing):
            return report.number, read
        kept = self._kept
        result = await self._store.write(
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
        if result.is_latest:
            self._inventories.follow(key)
        return Accepted(report.number, result.is_new, result.is_latest)


def _read(
    connection: Connection, organisation: OrganisationId, device: DeviceId, report: Report
) -> Summary | Missing | None:
    """What the report says for searching; None where it is committed already and need not be read."""
    if reports.find_report(connection, organisation, device, report.number) is not None:
        return None
    missing = reports.missing_blobs(connection, organisation, device, report)
    return Missing(missing) if missing else _summary(connection, organisation, device, report)


def _summary(connection: Connection, organisation: OrganisationId, device: DeviceId, report: Report) -> Summary:
    sections: dict[str, Section] = {}
    notes: list[str] = []
    for name, type_ in SEARCHED.items():
        ref = report.sections.get(name)
        if ref is None:
            continue
        data = blobs.read_whole(connection, organisation, ref.sha256)
        try:
            sections[name] = decode(data if data is not None else b"", type_, limit=MAX_SECTION_BYTES)
        except BadMessage as exc:
            # What cannot be read is still kept and shown as what the device signed; it is only not searched.
            notes.append(f"{name}: {exc.message}")
    software = report.sections.get(inventory.SECTION)
    if software is not None and (fault := inventory.fault_noted(connection, organisation, device, software.sha256)):
        notes.append(fault)
    facts = facts_from(device, sections, tags=None)
    system, found, ref = sections.get("system"), sections.get("findings"), report.sections.get("findings")
    ram = facts.ram_bytes if facts.ram_bytes is not None and 0 <= facts.ram_bytes < 2**62 else None
    return Summary(
        hostname=storable(facts.hostname, 255) or None if facts.hostname else None,
        os=tuple(storable(name, 64) for name in facts.os),
        os_text=_os_text(system) if isinstance(system, System) else "",
        ram=ram,
        slots_free=facts.slots_free,
        signal=facts.signal_dbm,
        findings=None if ref is None else Found(ref.sha256, found if isinstance(found, Findings) else None),
        notes=storable("; ".join(notes), MAX_NOTES_CHARS),
    )


def _os_text(system: System) -> str:
    return storable(system.os_name or f"{system.os_id} {system.os_version}".strip() or system.family, 200)
