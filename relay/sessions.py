"""Sessions at the relay: checked, offered, joined, ended. It does what rendezvous.py decides.

The relay verifies a request before it bothers a device, and so keeps strangers and former technicians away from its
resources. The device verifies it again, and nothing depends on this check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection

from protocol.api import Event, Session, SessionNonce, SessionStarted
from protocol.certificate import check_certificate
from protocol.codec import decode
from protocol.device_record import facts_of
from protocol.errors import AuxilioError, Refused
from protocol.ids import DeviceId, OrganisationId, SessionId, parse_session_id
from protocol.leg import Refused as LegRefused
from protocol.link import SessionAccepted, SessionClose, SessionEnded, SessionOffer, SessionRefused, SessionWaiting
from protocol.selector import matches
from protocol.session import MAX_REQUEST_BYTES, SessionRequest, VerifiedRequest, verify_request
from protocol.statement import Signed
from protocol.system_clock import Clock
from protocol.technician import Technician
from relay import logs
from relay.authorities import Authorities, Organisation
from relay.events import Events
from relay.failures import Conflict, DeviceOffline, NotFound, TooMany, device_not_found, session_not_found
from relay.links import Key, Link, Links
from relay.logins import Login, make_token
from relay.metrics import Metrics
from relay.rendezvous import Changed, CloseAtDevice, Effect, HangUp, Rendezvous, Say, Side, Splice
from relay.splice import Leg
from relay.stopping import Stopping
from relay.store import devices, listing, sessions
from relay.store.store import Store, storable

MAX_TEXT_CHARS = 500
MAX_CODE_CHARS = 64
TICKET_BYTES = 32


class _Running(msgspec.Struct, frozen=True):
    """What is remembered of a session that is not over, to judge it again when the policy changes."""

    key: Key
    technician: Technician


class Sessions:
    def __init__(
        self,
        store: Store,
        authorities: Authorities,
        links: Links,
        events: Events,
        metrics: Metrics,
        clock: Clock,
        entropy: Callable[[int], bytes],
        stopping: Stopping,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._links = links
        self._events = events
        self._metrics = metrics
        self._clock = clock
        self._entropy = entropy
        self._stopping = stopping
        self._rendezvous = Rendezvous()
        self._running: dict[SessionId, _Running] = {}
        self._legs = 0
        self._over = asyncio.Event()
        self._wake = asyncio.Event()
        links.on_gone(self._device_gone)
        authorities.on_change(self._review)

    # -- what a console asks --------------------------------------------------------------------------------------

    async def nonce(self, login: Login, device: DeviceId) -> SessionNonce:
        """Raises NotFound, DeviceOffline, TooMany (no_nonce), Restarting."""
        self._stopping.refuse()
        link = await self._linked(login, device)
        nonce = link.nonces.take(self._clock.monotonic())
        if nonce is None:
            raise TooMany(
                "the device has no nonce to give at this moment",
                code="no_nonce",
                retry_after_s=2.0,
                hint="Ask again: it sends more as they are used.",
            )
        return SessionNonce(nonce=nonce, policy=link.policy)

    async def start(self, login: Login, device: DeviceId, signed: Signed) -> SessionStarted:
        """Raises what verify_request does; NotFound, DeviceOffline; Refused with code wrong_technician, out_of_scope,
        nonce_unknown, too_many_sessions; Conflict (session_known); Restarting."""
        self._stopping.refuse()
        link = await self._linked(login, device)
        verified = await self._verify(login, device, signed)
        request = verified.request
        if not link.nonces.use(request.nonce, self._clock.monotonic()):
            raise Refused(
                "the request's nonce is not one that the device gave, or it was used",
                code="nonce_unknown",
                hint="Ask for the session again.",
            )
        name, now = verified.technician.name, self._clock.now()
        organisation = login.organisation
        kept = await self._store.write(
            lambda c: sessions.add_session(c, organisation, name, _storable_request(request), signed, now)
        )
        if not kept:
            raise Conflict("there was a session of this id already", code="session_known")
        current = self._links.get(link.key)
        if current is not link:
            self._changed(link.key, Changed(request.session, "ended", "device_offline", "the device went offline"))
            raise DeviceOffline("the device went offline")
        return self._offer(login, link, verified, signed)

    def _offer(self, login: Login, link: Link, verified: VerifiedRequest, signed: Signed) -> SessionStarted:
        session = verified.request.session
        console_ticket, device_ticket = (make_token(self._entropy(TICKET_BYTES)) for _ in range(2))
        try:
            self._rendezvous.open(
                session,
                link.key,
                verified.technician.name,
                console_ticket=console_ticket,
                device_ticket=device_ticket,
                now=self._clock.monotonic(),
            )
        except Refused as exc:
            self._changed(link.key, Changed(session, "refused", exc.reason, exc.message))
            raise
        self._running[session] = _Running(link.key, verified.technician)
        self._wake.set()
        self._metrics.sessions.set(len(self._running))
        link.send(SessionOffer(session=session, request=signed, ticket=device_ticket, leg_url=f"https://{link.relay}"))
        logs.info(
            "session_offered",
            organisation=link.key[0],
            device=link.key[1],
            session=session,
            technician=verified.technician.name,
        )
        self._tell(link.key, session, "offered")
        return SessionStarted(session=session, ticket=console_ticket, leg_url=f"https://{login.relay}")

    async def _verify(self, login: Login, device: DeviceId, signed: Signed) -> VerifiedRequest:
        held = await self._authorities.get(login.organisation)
        # Read before it is verified, only to know under which id it wants to be offered.
        claimed = parse_session_id(decode(signed.payload, SessionRequest, limit=MAX_REQUEST_BYTES).session)
        verified = verify_request(
            signed,
            rules=held.authority.technician_rules(),
            organisation=login.organisation,
            device=device,
            session=claimed,
            now=self._clock.now(),
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

    async def _linked(self, login: Login, device: DeviceId) -> Link:
        row = await self._visible(login, device)
        link = self._links.get((login.organisation, device))
        if link is None or link.closing is not None:
            since = int(self._clock.now()) - row
            raise DeviceOffline(f"the device is offline, since {max(since, 0)} s")
        return link

    async def _visible(self, login: Login, device: DeviceId) -> int:
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

    async def withdraw(self, login: Login, session: SessionId) -> Session:
        """End a session: one's own, or with `approve` any in one's scope. Raises NotFound, Refused (not_yours)."""
        found = await self.find(login, session)
        if found.technician != login.technician.name and "approve" not in login.technician.rights:
            raise Refused("only its technician, or who may approve devices, ends a session", code="not_yours")
        running = self._running.get(session)
        if running is not None and running.key[0] == login.organisation:
            who = login.technician.name
            code, message = "withdrawn", f"ended by {who}"
            self._do(self._rendezvous.withdraw(session, code, message, self._clock.monotonic()), running.key)
        return await self.find(login, session)

    async def find(self, login: Login, session: SessionId) -> Session:
        found = await self._store.read(lambda c: sessions.find_session(c, login.organisation, session))
        if found is None:
            raise session_not_found()
        if found.technician != login.technician.name:
            try:
                await self._visible(login, found.device)
            except NotFound as exc:
                raise session_not_found() from exc
        return self.fresh(found)

    def fresh(self, session: Session) -> Session:
        """What was read, with what has happened since and is still being written."""
        meeting = self._rendezvous.get(session.id)
        if meeting is None or meeting.key[1] != session.device:
            return session
        ended_at = session.ended_at or (int(self._clock.now()) if meeting.is_over else None)
        return msgspec.structs.replace(
            session, state=meeting.state, reason=meeting.reason, message=meeting.message, ended_at=ended_at
        )

    # -- what a device says over its link -------------------------------------------------------------------------

    def hear(self, key: Key, message: SessionWaiting | SessionAccepted | SessionRefused | SessionEnded) -> None:
        """A word of a device on one of its own sessions; on any other it is ignored."""
        meeting = self._rendezvous.get(message.session)
        if meeting is None or meeting.key != key:
            return
        now = self._clock.monotonic()
        match message:
            case SessionWaiting():
                effects = self._rendezvous.device_waits(message.session, message.until_at, message.wait_s, now)
            case SessionAccepted():
                effects = self._rendezvous.device_accepts(message.session, now)
            case SessionRefused():
                refusal = LegRefused(
                    code=storable(message.code, MAX_CODE_CHARS),
                    message=storable(message.message, MAX_TEXT_CHARS),
                    hint=storable(message.hint, MAX_TEXT_CHARS),
                )
                effects = self._rendezvous.device_refuses(message.session, refusal, now)
            case SessionEnded():
                reason = storable(message.reason, MAX_CODE_CHARS)
                text = storable(message.message, MAX_TEXT_CHARS)
                effects = self._rendezvous.device_ended(message.session, reason, text, now)
        self._do(effects, key)

    # -- legs -----------------------------------------------------------------------------------------------------

    def claim(self, session: SessionId, ticket: str) -> Side:
        """Raises Refused (bad_ticket)."""
        return self._rendezvous.claim(session, ticket)

    def arrive(self, session: SessionId, side: Side, leg: Leg) -> None:
        self._count_legs(1)
        self._do(self._rendezvous.arrive(session, side, leg, self._clock.monotonic()), self._key_of(session))

    def leave(self, session: SessionId, side: Side, leg: Leg, *, clean: bool, reason: str) -> None:
        self._count_legs(-1)
        now = self._clock.monotonic()
        key = self._key_of(session)
        text = storable(reason, MAX_TEXT_CHARS)
        self._do(self._rendezvous.left(session, side, leg, clean=clean, reason=text, now=now), key)

    # -- the rest of the world ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch the deadlines; ends when cancelled."""
        while True:
            now = self._clock.monotonic()
            self._do(self._rendezvous.tick(now), None)
            deadline = self._rendezvous.next_deadline()
            try:
                async with asyncio.timeout(None if deadline is None else max(deadline - now, 0.05)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def wait_over(self, timeout_s: float) -> bool:
        """Until no session is live and no leg is left, which still may carry its last bytes; False at the end of
        `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._running or self._legs:
                    self._over.clear()
                    await self._over.wait()
        except TimeoutError:
            return False
        return True

    def __len__(self) -> int:
        """Those that are not over."""
        return len(self._running)

    def end_all(self, code: str, message: str) -> None:
        for session, running in list(self._running.items()):
            effects = self._rendezvous.withdraw(session, code, message, self._clock.monotonic())
            self._do(effects, running.key)

    def _device_gone(self, key: Key) -> None:
        self._do(self._rendezvous.device_gone(key, self._clock.monotonic()), key)

    def _review(self, held: Organisation) -> None:
        """A newer charter or policy: whoever would not be let in now is put out, at once."""
        now = self._clock.now()
        for session, running in list(self._running.items()):
            if running.key[0] != held.id:
                continue
            message = self._objection(held, running, now)
            if message is not None:
                effects = self._rendezvous.withdraw(session, "revoked", message, self._clock.monotonic())
                self._do(effects, running.key)

    def _objection(self, held: Organisation, running: _Running, now: float) -> str | None:
        if running.key[1] in held.revoked_devices:
            return "the device was removed"
        try:
            check_certificate(running.technician.certificate, held.authority.technician_rules(), now)
        except AuxilioError as exc:
            # A certificate may end within a session: the device decides on that. A revocation may not wait.
            return None if exc.reason == "expired" else exc.message
        return None

    def _count_legs(self, change: int) -> None:
        self._legs += change
        self._metrics.legs.set(self._legs)
        self._over.set()

    def _key_of(self, session: SessionId) -> Key | None:
        meeting = self._rendezvous.get(session)
        return None if meeting is None else meeting.key

    def _do(self, effects: list[Effect], key: Key | None) -> None:
        for effect in effects:
            match effect:
                case Say(leg, text):
                    _leg(leg).say(text)
                case HangUp(leg, code, reason):
                    _leg(leg).hang_up(code, reason)
                case Splice(console, device):
                    _leg(console).join(_leg(device))
                    _leg(device).join(_leg(console))
                case CloseAtDevice(device_key, session, reason):
                    link = self._links.get(device_key)
                    if link is not None:
                        link.send(SessionClose(session=session, reason=reason))
                case Changed(session):
                    whose = key or self._key_of(session)
                    if whose is not None:
                        self._changed(whose, effect)
        if effects:
            self._wake.set()

    def _changed(self, key: Key, change: Changed) -> None:
        now = self._clock.now()
        over = change.state in ("refused", "ended")
        if over and self._running.pop(change.session, None) is not None:
            self._metrics.sessions_over.labels(state=change.state).inc()
            self._metrics.sessions.set(len(self._running))
            self._over.set()
        self._store.write_soon(
            lambda c: sessions.set_state(c, key[0], change.session, change.state, change.reason, change.message, now),
            "session_state",
        )
        logs.info(
            f"session_{change.state}",
            organisation=key[0],
            device=key[1],
            session=change.session,
            reason=change.reason,
        )
        self._tell(key, change.session, change.state if not change.reason else f"{change.state}: {change.reason}")

    def _tell(self, key: Key, session: SessionId, detail: str) -> None:
        now = int(self._clock.now())
        self._events.publish(
            Event(kind="session_changed", at=now, organisation=key[0], device=key[1], session=session, detail=detail)
        )


def _leg(leg: object) -> Leg:
    assert isinstance(leg, Leg)
    return leg


def _storable_request(request: SessionRequest) -> SessionRequest:
    case = None if request.case is None else storable(request.case, 64)
    return msgspec.structs.replace(request, purpose=storable(request.purpose, MAX_TEXT_CHARS), case=case)


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

    return await store.read(job)
