"""The sessions that run: each with its broker, from its start to its end, over as many legs as it takes.

start --> SessionAccepted --> broker ... --> SessionEnded
                                |    ^
                 leg lost: SessionAway    offered again by its technician: another ticket
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator

from agent.admission import LOOKING, Admission, DeviceView, Ended, Running, leg_relay, may_go_on, only_looks
from agent.session.broker import Outcome, SessionBroker
from agent.session.host import Host
from agent.session.journal import Journal
from agent.session.looks import Looks
from agent.session.overview import LiveSession, live_session
from protocol.errors import Refused
from protocol.ids import SessionId
from protocol.link import SessionAccepted, SessionAway, SessionEnded, SessionOffer, ToRelay
from protocol.policy import Relay
from protocol.signing import RawSigner
from transport.relay_address import RelayAddress

log = logging.getLogger(__name__)

MAX_LOOKING = 2
"""Sessions of one technician that only look, at a time."""

MAX_PAST = 1024
"""Kernel sessions that technicians' background processes live on in; of older ones it is forgotten whose they are."""


class LiveSessions:
    def __init__(
        self,
        *,
        view: Callable[[], DeviceView],
        now: Callable[[], float],
        device_key: RawSigner,
        journal: Journal,
        send: Callable[[ToRelay], None],
        way: Callable[[Relay], RelayAddress],
        over: Callable[[SessionId], None],
        away: Callable[[], None],
        resume_for_s: float,
        looks: Looks | None = None,
    ) -> None:
        """As SessionDesk. over: told of each that has ended.  away: told when one has lost its leg."""
        self._view = view
        self._now = now
        self._device_key = device_key
        self._journal = journal
        self._send = send
        self._way = way
        self._over = over
        self._away = away
        self._resume_for_s = resume_for_s
        self._looks = looks
        self._brokers: dict[SessionId, SessionBroker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._past: deque[int] = deque(maxlen=MAX_PAST)
        self._guarded: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._brokers)

    def __iter__(self) -> Iterator[SessionBroker]:
        return iter(self._brokers.values())

    def get(self, session: SessionId) -> SessionBroker | None:
        return self._brokers.get(session)

    def overview(self) -> tuple[LiveSession, ...]:
        return tuple(live_session(broker) for broker in self)

    def process_ids(self) -> frozenset[int]:
        return frozenset(self._past).union(*(broker.process_ids for broker in self))

    @property
    def are_waited_for(self) -> bool:
        """Somebody sits before a session that has no leg."""
        return any(broker.is_away for broker in self)

    # -- a session's life -------------------------------------------------------------------------------------------

    def room_for(self, admission: Admission) -> None:
        """Raises Refused (too_many_looks): nobody was asked for sessions that only look, so they take few places."""
        name, wanted = admission.verified.technician.name, admission.verified.request.capabilities
        looks = [b for b in self if only_looks(b.running) and b.running.verified.technician.name == name]
        if wanted == (LOOKING,) and len(looks) >= MAX_LOOKING:
            raise Refused(f"{name} looks at this device {len(looks)} times already", code="too_many_looks")

    def start(self, offer: SessionOffer, admission: Admission, host: Host, *, asked: bool) -> None:
        session = admission.verified.request.session
        broker = SessionBroker(
            Running(verified=admission.verified, asked=asked, started_at=self._now()),
            offer.request,
            relay=self._way(admission.relay),
            ticket=offer.ticket,
            host=host,
            device_key=self._device_key,
            journal=self._journal,
            view=self._view,
            now=self._now,
            guarded=lambda: self._guarded,
            on_away=lambda: self._lost(session),
            resume_for_s=self._resume_for_s,
            looks=self._looks,
        )
        self._brokers[session] = broker
        self._journal.record("session_started", session=session, asked=asked)
        self._send(SessionAccepted(session=session))
        task = asyncio.get_running_loop().create_task(self._serve(session, broker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def resume(self, offer: SessionOffer) -> None:
        """Its technician asks for it again. Raises Refused where it does not stand, or is not what was asked for."""
        broker = self._brokers.get(offer.session)
        if broker is None or broker.request != offer.request:
            # The very bytes that were admitted: nobody but its technician, the device and a relay has them.
            raise Refused("the session is over", code="no_such_session", hint="Begin a new one.")
        relay = self._way(leg_relay(self._view(), offer.leg_url))
        self._send(SessionAccepted(session=offer.session))
        broker.resume(relay, offer.ticket)

    def _lost(self, session: SessionId) -> None:
        self._send(SessionAway(session=session))
        self._away()

    async def _serve(self, session: SessionId, broker: SessionBroker) -> None:
        outcome = Outcome("failed", "the agent failed")
        try:
            outcome = await broker.run()
        except Exception:
            log.exception("a session failed by a bug of ours")
        finally:
            del self._brokers[session]
            self._past.extend(broker.left_behind)
            seconds = int(self._now() - broker.running.started_at)
            self._journal.record(
                "session_ended", session=session, reason=outcome.reason, message=outcome.message, seconds=seconds
            )
            self._send(SessionEnded(session=session, reason=outcome.reason, message=outcome.message))
            self._over(session)

    # -- what happens to all of them --------------------------------------------------------------------------------

    def link_up(self, guarded: frozenset[int]) -> None:
        """guarded: the relay's ports that no forward may reach."""
        self._guarded = guarded
        for broker in self:
            if broker.is_away:
                self._send(SessionAway(session=broker.session))

    def link_down(self) -> None:
        """They go on: their legs are connections of their own. What ended the link may have ended those, too."""
        for broker in self:
            broker.doubt()

    def review(self) -> None:
        """Judge each anew."""
        view, now = self._view(), self._now()
        for broker in self:
            try:
                may_go_on(broker.running, view=view, now=now)
            except Ended as exc:
                broker.finish(exc.ending, exc.message)

    def finish_all(self, reason: str, message: str) -> None:
        for broker in self:
            broker.finish(reason, message)

    async def ended(self) -> None:
        """Return when nothing is left of any."""
        while self._tasks:
            await asyncio.wait(self._tasks)
