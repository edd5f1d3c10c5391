"""What a device was before it was reinstalled: the devices that its records continue, and the sessions of all of them.

For display alone: consoles verify every record on the way. Each device is shown to those in whose scope it is, also
one that was removed since.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from protocol.api import MAX_CONTINUED, MAX_HISTORY_SESSIONS, History
from protocol.codec import decode
from protocol.device_record import MAX_RECORD_BYTES, DeviceRecord, HeldRecord, facts_of
from protocol.ids import DeviceId, OrganisationId
from protocol.selector import matches
from protocol.technician import Technician
from relay.failures import Conflict, Forbidden
from relay.store import devices, listing, sessions
from relay.store.documents import read_signed


def chain(connection: Connection, organisation: OrganisationId, first: Row[Any]) -> list[Row[Any]]:
    """The devices before `first`, the latest first; it ends at one that is not held here, or comes a second time."""
    found: list[Row[Any]] = []
    seen, current = {first.id}, first
    while len(found) < MAX_CONTINUED and (old := _continued(current)) is not None and old not in seen:
        row = devices.find_row(connection, organisation, old, removed=True)
        if row is None:
            break
        seen.add(old)
        found.append(row)
        current = row
    return found


def _continued(row: Row[Any]) -> DeviceId | None:
    if row.record is None:
        return None
    return decode(read_signed(row.record).payload, DeviceRecord, limit=MAX_RECORD_BYTES).continues


def history(
    connection: Connection, organisation: OrganisationId, technician: Technician, first: Row[Any], now: float
) -> History:
    shown: list[Row[Any]] = []
    for row in chain(connection, organisation, first):
        if not listing.visible(connection, technician, organisation, row):
            break
        shown.append(row)
    held = [
        session
        for row in (first, *shown)
        for session in sessions.list_sessions(
            connection,
            organisation,
            device=DeviceId(row.id),
            live=False,
            before=None,
            limit=MAX_HISTORY_SESSIONS,
        )
    ]
    held.sort(key=lambda session: session.started_at, reverse=True)
    return History(
        devices=listing.present(connection, organisation, tuple(shown), now),
        sessions=tuple(held[:MAX_HISTORY_SESSIONS]),
    )


def check_continued(connection: Connection, organisation: OrganisationId, new: HeldRecord) -> None:
    """Refuse a record that continues a device over which its signer has no say, or one that continues this one.

    A device that is not held here is nobody's to show. Raises Forbidden (out_of_scope), Conflict (continues_itself).
    """
    if new.record.continues is None:
        return
    old = devices.find_row(connection, organisation, new.record.continues, removed=True)
    if old is None:
        return
    tags = tuple(devices.tags_of(connection, organisation, [old.id])[old.id][0]) if old.record_number else None
    if not matches(new.signer.scope, facts_of(DeviceId(old.id), tags)):
        raise Forbidden("the device that it continues is outside the signer's scope", code="out_of_scope")
    if new.record.device in {row.id for row in chain(connection, organisation, old)}:
        raise Conflict("the device that it continues was itself a continuation of this one", code="continues_itself")
