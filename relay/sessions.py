"""Sessions at the relay: checked, offered, joined, ended. It does what rendezvous.py decides.

The relay verifies a request before it bothers a device, and so keeps strangers and former technicians away from its
resources. The device verifies it again, and nothing depends on this check.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from protocol.api import Event, Session, SessionNonce, SessionStarted
from protocol.certificate import check_certificate
from protocol.errors import AuxilioError, Refused
from protocol.ids import DeviceId, OrganisationId, SessionId
from protocol.leg import Refused as LegRefused
from protocol.link import (
    SessionAccepted,
    SessionAway,
    SessionClose,
    SessionEnded,
    SessionOffer,
    SessionRefused,
    SessionWaiting,
)
from protocol.session import VerifiedRequest
from protocol.statement import Signed
from protocol.system_clock import Clock
from protocol.technician import Technician
from relay import logs
from relay.authorities import Authorities, Organisation
from relay.events import Events
from relay.failures import Conflict, DeviceOffline, NotFound, TooMany, session_not_found
from relay.links import Key, Link, Links
from relay.logins import Login, make_token
from relay.meeting import Changed, CloseAtDevice, Effect, HangUp, Place, Say, Side, Splice
from relay.metrics import Metrics
from relay.rendezvous import Rendezvous
from relay.session_access import MAX_TEXT_CHARS, SessionAccess, storable_request
from relay.splice import Leg
from relay.stopping import Stopping
from relay.store import sessions
from relay.store.store import Store, storable

FromDevice = SessionWaiting | SessionAccepted | SessionRefused | SessionAway | SessionEnded

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
        self._access = SessionAccess(store, authorities, links, clock)
        self._rendezvous = Rendezvous()
        self._running: dict[Place, _Running] = {}
        self._legs = 0
        self._over = asyncio.Event()
        self._wake = asyncio.Event()
        links.on_gone(self._device_gone)
        authorities.on_change(self._review)

    # -- what a console asks --------------------------------------------------------------------------------------

    async def nonce(self, login: Login, device: DeviceId) -> SessionNonce:
        """Raises NotFound, DeviceOffline, TooMany (no_nonce), Restarting."""
        self._stopping.refuse()
        link = await self._access.linked(login, device)
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
        link = await self._access.linked(login, device)
        verified = await self._access.verify(login, device, signed)
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
            lambda c: sessions.add_session(c, organisation, name, storable_request(request), signed, now)
        )
        if not kept:
            raise Conflict("there was a session of this id already", code="session_known")
        current = self._links.get(link.key)
        if current is not link:
            place = (organisation, request.session)
            self._changed(link.key, Changed(place, "ended", "device_offline", "the device went offline"))
            raise DeviceOffline("the device went offline")
        return self._offer(login, link, verified, signed)

    async def resume(self, login: Login, device: DeviceId, signed: Signed) -> SessionStarted:
        """Two new tickets for a session whose legs were lost; the device knows whether it still stands.

        Neither its nonce nor its life matter: the device has used the one, and holds the request itself. Raises as
        `start`.
        """
        link = await self._access.linked(login, device)
        verified = await self._access.verify(login, device, signed, resume=True)
        request, name = verified.request, verified.technician.name
        effects = self._rendezvous.close_lost((login.organisation, request.session), link.key, name)
        self._do(effects, link.key)
        now = self._clock.now()
        kept = await self._store.write(
            lambda c: sessions.reopen_session(c, login.organisation, name, storable_request(request), signed, now)
        )
        if not kept:
            raise Conflict("there was another session of this id already", code="session_known")
        current = self._links.get(link.key)
        if current is not link:
            raise DeviceOffline("the device went offline")
        # Once more: another attempt of the same console's, which it gave up, may have come this far meanwhile.
        self._do(self._rendezvous.close_lost((login.organisation, request.session), link.key, name), link.key)
        return self._offer(login, link, verified, signed, resume=True)

    def _offer(
        self, login: Login, link: Link, verified: VerifiedRequest, signed: Signed, *, resume: bool = False
    ) -> SessionStarted:
        session = verified.request.session
        place = (link.key[0], session)
        console_ticket, device_ticket = (make_token(self._entropy(TICKET_BYTES)) for _ in range(2))
        try:
            self._rendezvous.open(
                session,
                link.key,
                verified.technician.name,
                console_ticket=console_ticket,
                device_ticket=device_ticket,
                now=self._clock.monotonic(),
                again=resume,
            )
        except Refused as exc:
            self._changed(link.key, Changed(place, "refused", exc.reason, exc.message))
            raise
        self._running[place] = _Running(link.key, verified.technician)
        self._wake.set()
        self._metrics.sessions.set(len(self._running))
        url = f"https://{link.relay}"
        link.send(SessionOffer(session=session, request=signed, ticket=device_ticket, leg_url=url, resume=resume))
        logs.info(
            "session_offered_again" if resume else "session_offered",
            organisation=link.key[0],
            device=link.key[1],
            session=session,
            technician=verified.technician.name,
        )
        self._tell(link.key, session, "offered")
        return SessionStarted(session=session, ticket=console_ticket, leg_url=f"https://{login.relay}")

    async def withdraw(self, login: Login, session: SessionId) -> Session:
        """End a session: one's own, or with `approve` any in one's scope. Raises NotFound, Refused (not_yours)."""
        found = await self.find(login, session)
        if found.technician != login.technician.name and "approve" not in login.technician.rights:
            raise Refused("only its technician, or who may approve devices, ends a session", code="not_yours")
        place = (login.organisation, session)
        running = self._running.get(place)
        if running is not None:
            who = login.technician.name
            code, message = "withdrawn", f"ended by {who}"
            self._do(self._rendezvous.withdraw(place, code, message, self._clock.monotonic()), running.key)
        elif (link := self._links.get((login.organisation, found.device))) is not None:
            # Over here, but a device whose leg was lost may still wait for it to go on.
            link.send(SessionClose(session=session, reason="withdrawn"))
        return await self.find(login, session)

    async def find(self, login: Login, session: SessionId) -> Session:
        found = await self._store.read(lambda c: sessions.find_session(c, login.organisation, session))
        if found is None:
            raise session_not_found()
        if found.technician != login.technician.name:
            try:
                await self._access.visible(login, found.device)
            except NotFound as exc:
                raise session_not_found() from exc
        return self.fresh(login.organisation, found)

    def fresh(self, organisation: OrganisationId, session: Session) -> Session:
        """What was read, with what has happened since and is still being written."""
        meeting = self._rendezvous.get((organisation, session.id))
        if meeting is None or meeting.key[1] != session.device:
            return session
        ended_at = session.ended_at or (int(self._clock.now()) if meeting.is_over else None)
        return msgspec.structs.replace(
            session, state=meeting.state, reason=meeting.reason, message=meeting.message, ended_at=ended_at
        )

    # -- what a device says over its link -------------------------------------------------------------------------

    def hear(self, key: Key, message: FromDevice) -> None:
        """A word of a device on one of its own sessions; on any other it is ignored."""
        place = (key[0], message.session)
        meeting = self._rendezvous.get(place)
        if meeting is None or meeting.key != key:
            return
        now = self._clock.monotonic()
        match message:
            case SessionWaiting():
                effects = self._rendezvous.device_waits(place, message.until_at, message.wait_s, now)
            case SessionAccepted():
                effects = self._rendezvous.device_accepts(place, now)
            case SessionRefused():
                refusal = LegRefused(
                    code=storable(message.code, MAX_CODE_CHARS),
                    message=storable(message.message, MAX_TEXT_CHARS),
                    hint=storable(message.hint, MAX_TEXT_CHARS),
                )
                effects = self._rendezvous.device_refuses(place, refusal, now)
            case SessionAway():
                effects = self._rendezvous.device_away(place, now)
            case SessionEnded():
                reason = storable(message.reason, MAX_CODE_CHARS)
                text = storable(message.message, MAX_TEXT_CHARS)
                effects = self._rendezvous.device_ended(place, reason, text, now)
        self._do(effects, key)

    # -- legs -----------------------------------------------------------------------------------------------------

    def claim(self, session: SessionId, ticket: str) -> tuple[Place, Side]:
        """Raises Refused (bad_ticket)."""
        return self._rendezvous.claim(session, ticket)

    def arrive(self, place: Place, side: Side, leg: Leg) -> None:
        self._count_legs(1)
        self._do(self._rendezvous.arrive(place, side, leg, self._clock.monotonic()), self._key_of(place))

    def leave(self, place: Place, side: Side, leg: Leg, *, clean: bool, reason: str) -> None:
        self._count_legs(-1)
        now = self._clock.monotonic()
        key = self._key_of(place)
        text = storable(reason, MAX_TEXT_CHARS)
        self._do(self._rendezvous.left(place, side, leg, clean=clean, reason=text, now=now), key)

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

    async def wait_begun(self, timeout_s: float) -> bool:
        """Until no session is in the middle of being asked for; False at the end of `timeout_s`."""
        return await self._wait_until(lambda: not self._rendezvous.beginning, timeout_s)

    async def wait_over(self, timeout_s: float) -> bool:
        """Until no session is live and no leg is left, which still may carry its last bytes; False as `wait_begun`."""
        return await self._wait_until(lambda: not self._running and not self._legs, timeout_s)

    async def _wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._over.clear()
                    await self._over.wait()
        except TimeoutError:
            return False
        return True

    def __len__(self) -> int:
        """Those that are not over."""
        return len(self._running)

    def restart(self) -> None:
        """Every leg is hung up; whose session stands asks for it again at the next process."""
        self._do(self._rendezvous.restart(self._clock.monotonic()), None)

    def _device_gone(self, key: Key) -> None:
        self._do(self._rendezvous.device_gone(key, self._clock.monotonic()), key)

    def _review(self, held: Organisation) -> None:
        """A newer charter or policy: whoever would not be let in now is put out, at once."""
        now = self._clock.now()
        for place, running in list(self._running.items()):
            if running.key[0] != held.id:
                continue
            message = self._objection(held, running, now)
            if message is not None:
                effects = self._rendezvous.withdraw(place, "revoked", message, self._clock.monotonic())
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

    def _key_of(self, place: Place) -> Key | None:
        meeting = self._rendezvous.get(place)
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
                case Changed(place):
                    whose = key or self._key_of(place)
                    if whose is not None:
                        self._changed(whose, effect)
        if effects:
            self._wake.set()

    def _changed(self, key: Key, change: Changed) -> None:
        now, session = self._clock.now(), change.place[1]
        self._over.set()
        over = change.state in ("refused", "ended")
        if over and self._running.pop(change.place, None) is not None:
            self._metrics.sessions_over.labels(state=change.state).inc()
            self._metrics.sessions.set(len(self._running))
            self._over.set()
        self._store.write_soon(
            lambda c: sessions.set_state(c, key[0], session, change.state, change.reason, change.message, now),
            "session_state",
        )
        logs.info(
            f"session_{change.state}",
            organisation=key[0],
            device=key[1],
            session=session,
            reason=change.reason,
        )
        self._tell(key, session, change.state if not change.reason else f"{change.state}: {change.reason}")

    def _tell(self, key: Key, session: SessionId, detail: str) -> None:
        now = int(self._clock.now())
        self._events.publish(
            Event(kind="session_changed", at=now, organisation=key[0], device=key[1], session=session, detail=detail)
        )


def _leg(leg: object) -> Leg:
    assert isinstance(leg, Leg)
    return leg
