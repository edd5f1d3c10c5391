"""Which sections the devices' last reports name, and of which of them something was read that is not of these."""

from __future__ import annotations

from sqlalchemy import Connection, Table, and_, select, update

from protocol.ids import DeviceId, OrganisationId, Sha256
from relay.store.store import storable
from relay.store.tables import devices, report_sections

MAX_NOTES_CHARS = 500

_OF_LAST_REPORT = and_(
    devices.c.organisation == report_sections.c.organisation,
    devices.c.id == report_sections.c.device,
    devices.c.report_number == report_sections.c.number,
)


def reported(connection: Connection, organisation: OrganisationId, device: DeviceId, name: str) -> Sha256:
    """The section `name` of the device's last report, or ""."""
    query = (
        select(report_sections.c.sha256)
        .join(devices, _OF_LAST_REPORT)
        .where(devices.c.organisation == organisation, devices.c.id == device, report_sections.c.name == name)
    )
    return Sha256(connection.execute(query).scalar() or "")


def note(connection: Connection, organisation: OrganisationId, device: DeviceId, text: str) -> None:
    """Add to the notes of the device's last report why a section of it is not searched."""
    notes = "; ".join([*notes_of(connection, organisation, device), text])
    this = and_(devices.c.organisation == organisation, devices.c.id == device)
    connection.execute(update(devices).where(this).values(notes=storable(notes, MAX_NOTES_CHARS)))


def notes_of(connection: Connection, organisation: OrganisationId, device: DeviceId) -> list[str]:
    this = and_(devices.c.organisation == organisation, devices.c.id == device)
    return [
        part for part in (connection.execute(select(devices.c.notes).where(this)).scalar() or "").split("; ") if part
    ]


def behind(connection: Connection, name: str, read: Table, limit: int) -> list[tuple[OrganisationId, DeviceId]]:
    """Devices whose row in `read` is of another section than their last report's, or missing: the report came just
    when the relay ended, or before there was such a table."""
    query = (
        select(devices.c.organisation, devices.c.id)
        .join(report_sections, and_(_OF_LAST_REPORT, report_sections.c.name == name))
        .outerjoin(read, and_(read.c.organisation == devices.c.organisation, read.c.device == devices.c.id))
        .where(read.c.sha256.is_(None) | (read.c.sha256 != report_sections.c.sha256))
        .limit(limit)
    )
    return [(OrganisationId(row.organisation), DeviceId(row.id)) for row in connection.execute(query)]
