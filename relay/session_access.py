"""Who may ask for a session, on which device, and which sessions they see."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from protocol.api import Session
from protocol.codec import decode
from protocol.device_record import facts_of
from protocol.errors import Refused
from protocol.ids import DeviceId, OrganisationId, parse_session_id
from protocol.selector import matches
from protocol.session import MAX_REQUEST_BYTES, SessionRequest, VerifiedRequest, verify_request
from protocol.statement import Signed
from protocol.system_clock import Clock
from relay.authorities import Authorities
from relay.failures import DeviceOffline, device_not_found
from relay.links import Link, Links
from relay.logins import Login
from relay.store import devices, listing, sessions
from relay.store.store import Store, storable

MAX_TEXT_CHARS = 500


class SessionAccess:
    def __init__(self, store: Store, authorities: Authorities, links: Links, clock: Clock) -> None:
        self._store = store
        self._authorities = authorities
        self._links = links
        self._clock = clock

    async def verify(self, login: Login, device: DeviceId, signed: Signed, *, resume: bool = False) -> VerifiedRequest:
        """resume: as of when it was made."""
        held = await self._authorities.get(login.organisation)
        # Read before it is verified, only to know under which id it wants to be offered.
        claimed = decode(signed.payload, SessionRequest, limit=MAX_REQUEST_BYTES)
        verified = verify_request(
            signed,
            rules=held.authority.technician_rules(),
            organisation=login.organisation,
            device=device,
            session=parse_session_id(claimed.session),
            now=claimed.issued_at if resume else self._clock.now(),
        )
        if verified.technician.name != login.technician.name:
            raise Refused("the request is signed by somebody else than who is logged in", code="wrong_technician")
        tags = await self._store.read(lambda c: devices.tags_of(c, login.organisation, [device]))
        if not matches(verified.technician.scope, facts_of(device, tuple(tags[device][0]))):
            raise Refused(
                f"this device is outside {verified.technician.name}'s scope",
                code="out_of_scope",
                hint="A provisional device has no tags yet: `auxilio device approve` gives it some.",
            )
        return verified

    async def linked(self, login: Login, device: DeviceId) -> Link:
        row = await self.visible(login, device)
        link = self._links.get((login.organisation, device))
        if link is None or link.closing is not None:
            since = int(self._clock.now()) - row
            raise DeviceOffline(f"the device is offline, since {max(since, 0)} s")
        return link

    async def visible(self, login: Login, device: DeviceId) -> int:
        """Raises NotFound unless the device is in the technician's scope; returns since when it is what it is."""

        def job(connection: Connection) -> int | None:
            row = devices.find_row(connection, login.organisation, device)
            if row is None or not listing.visible(connection, login.technician, login.organisation, row):
                return None
            return int(row.since_at)

        since_at = await self._store.read(job)
        if since_at is None:
            raise device_not_found()
        return since_at


async def list_sessions(
    store: Store, login: Login, *, device: DeviceId | None, live: bool, before: int | None, limit: int
) -> tuple[Session, ...]:
    """Newest first: one's own, and those on devices in one's scope."""
    organisation: OrganisationId = login.organisation

    def job(connection: Connection) -> tuple[Session, ...]:
        found = sessions.list_sessions(connection, organisation, device=device, live=live, before=before, limit=limit)
        seen: dict[DeviceId, bool] = {}
        for session in found:
            if session.device not in seen:
                row = devices.find_row(connection, organisation, session.device)
                seen[session.device] = row is not None and listing.visible(
                    connection, login.technician, organisation, row
                )
        return tuple(s for s in found if seen[s.device] or s.technician == login.technician.name)

    return await store.search(organisation, job)


def storable_request(request: SessionRequest) -> SessionRequest:
    case = None if request.case is None else storable(request.case, 64)
    return msgspec.structs.replace(request, purpose=storable(request.purpose, MAX_TEXT_CHARS), case=case)
