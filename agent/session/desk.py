"""The one door to sessions for the agent's supervisor: offers come in, messages for the relay go out.

A driver: agent.admission and agent.consent decide, a SessionBroker serves each session. Whatever an offer holds,
`offer` neither blocks nor raises: a refusal is a message to the relay and an entry in the log.

    offer -> admit -> (ask the customer) -> SessionAccepted -> broker -> SessionEnded
               |              |
               +--------------+---> SessionRefused
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine

from agent.admission import (
    LOOKING,
    MAX_SESSIONS,
    Admission,
    DeviceView,
    Ended,
    PolicyBehind,
    Running,
    admit,
    claimed_name,
    may_go_on,
)
from agent.consent import Answer, Answered, ConsentBook, Question, consent_key
from agent.nonces import NONCE_LIFE_S, NoncePool
from agent.platform import this_host
from agent.session.host import Host
from agent.session.journal import Journal, note_request
from agent.session.live import LiveSessions
from agent.session.looks import Looks
from agent.session.overview import LiveSession, PendingConsent, pending
from protocol.errors import AuxilioError, Refused
from protocol.ids import SessionId
from protocol.link import (
    Nonces,
    PolicyNumber,
    SessionOffer,
    SessionRefused,
    SessionWaiting,
    ToRelay,
)
from protocol.policy import Relay
from protocol.signing import RawSigner
from protocol.system_clock import Clock
from protocol.text import escape
from transport.relay_address import RelayAddress
from transport.resuming import RESUME_FOR_S
from transport.ways import directly

log = logging.getLogger(__name__)

REVIEW_S = 1.0
"""How often live sessions are judged anew, besides at every new document: clocks and dates move by themselves. It costs
a signature check a session, 0.1 ms; without a session nothing is judged."""

MAX_OFFERS = 2 * MAX_SESSIONS
"""Offers and sessions in hand. A relay that sends more is refused by count, before any signature is looked at."""

FETCH_WITHIN_S = 30.0
"""For the policy that the console knows and we do not."""


class SessionDesk:
    """Lives in the supervisor's loop, and is used from there only."""

    def __init__(
        self,
        *,
        view: Callable[[], DeviceView],
        now: Callable[[], float],
        clock: Clock,
        device_key: RawSigner,
        journal: Journal,
        send: Callable[[ToRelay], None],
        fetch_policy: Callable[[PolicyNumber], Awaitable[None]],
        ask: Callable[[PendingConsent], None] | None = None,
        way: Callable[[Relay], RelayAddress] = directly,
        host: Callable[[], Host] = this_host,
        entropy: Callable[[int], bytes] = os.urandom,
        resume_for_s: float = RESUME_FOR_S,
        away: Callable[[], None] = lambda: None,
        looks: Looks | None = None,
    ) -> None:
        """view: what the device holds, asked anew each time.  now: Unix seconds, never behind the time floor.

        send: to the relay; may drop while there is no link.  fetch_policy: returns when the policy was accepted, or
        there is no hope.  ask: tells the customer; how, is the agent's business.  way: how a relay is reached.
        resume_for_s: for which a session outlives its leg.  away: told when one has lost it.  looks: how the device
        looks at itself for technicians; None: it does not.
        """
        self._view = view
        self._now = now
        self._clock = clock
        self._journal = journal
        self._send = send
        self._fetch_policy = fetch_policy
        self._ask = ask
        self._make_host = host
        self._host: Host | None = None
        self._nonces = NoncePool(entropy)
        self._consent = ConsentBook()
        self._asked: dict[SessionId, tuple[SessionOffer, Admission]] = {}
        self._fetching: set[SessionId] = set()
        self._live = LiveSessions(
            view=view,
            now=now,
            device_key=device_key,
            journal=journal,
            send=send,
            way=way,
            over=self._consent.forget_session,
            away=away,
            resume_for_s=resume_for_s,
            looks=looks,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._linked = False
        self._closed = False

    # -- the link ---------------------------------------------------------------------------------------------------

    def link_up(self, guarded: frozenset[int] = frozenset()) -> None:
        """The link stands, and the relay's pool of nonces is empty. guarded: its ports that no forward may reach."""
        self._linked = True
        self._live.link_up(guarded)
        self._nonces.age(self._clock.monotonic())
        self._top_up()
        self._set_timer()

    def link_down(self) -> None:
        self._linked = False
        self._live.link_down()

    def offer(self, offer: SessionOffer) -> None:
        """A relay says that a technician asks. Nothing of it is trusted."""
        if self._closed:
            return
        if offer.resume:
            self._resume(offer)
            return
        if self._live.get(offer.session) or offer.session in self._asked or offer.session in self._fetching:
            self._journal.record("offer_repeated", session=escape(offer.session, limit=64))
            return
        if len(self._live) + len(self._asked) + len(self._fetching) >= MAX_OFFERS:
            self._refuse(offer, Refused("too many requests at once", code="too_many_sessions"))
            return
        self._consider(offer, may_fetch=True)
        self._set_timer()

    def withdraw(self, session: SessionId, reason: str) -> None:
        """The console is gone, says the relay; it may end a session, as it may cut its legs."""
        if self._consent.withdraw(session) is not None:
            self._asked.pop(session, None)
            self._journal.record("session_withdrawn", session=session, reason=escape(reason))
        elif (broker := self._live.get(session)) is not None:
            if broker.is_away and reason == "closed":
                broker.finish("closed", "the technician closed the session")
            else:
                broker.finish("withdrawn", f"the relay closed the session: {escape(reason)}")

    def _resume(self, offer: SessionOffer) -> None:
        try:
            self._live.resume(offer)
        except AuxilioError as exc:
            self._refuse(offer, exc)

    # -- the customer -----------------------------------------------------------------------------------------------

    def allow(self, session: SessionId | None = None) -> PendingConsent:
        """Raises Refused with code nothing_asked, not_found or ambiguous."""
        answered = self._consent.allow(session, self._clock.monotonic())
        self._answered(answered)
        if answered.answer is not Answer.ALLOWED:
            raise Refused("the answer came too late", code="too_late")
        return pending(answered.question)

    def deny(self, session: SessionId | None = None) -> PendingConsent:
        """Raises as `allow`."""
        answered = self._consent.deny(session)
        self._answered(answered)
        return pending(answered.question)

    def revoke(self, case: str | None = None) -> tuple[SessionId, ...]:
        """The customer takes consent back, for a case, a session, or all. Returns the sessions that end by it."""
        gone, ended = self._consent.revoke(case), []
        for broker in self._live:
            request = broker.running.verified.request
            if case is None or case in (request.case, request.session):
                # Also one that nobody had to be asked for: the person at the device has the last word.
                broker.finish("consent_revoked", "the customer ended the session")
                ended.append(request.session)
        if gone or ended:
            self._journal.record("consent_revoked", case=case, sessions=ended)
        return tuple(ended)

    def waiting(self) -> tuple[PendingConsent, ...]:
        return tuple(pending(question) for question in self._consent.asked())

    def live(self) -> tuple[LiveSession, ...]:
        return self._live.overview()

    @property
    def is_waited_for(self) -> bool:
        """Somebody sits before a session that has no leg."""
        return self._live.are_waited_for

    def process_ids(self) -> frozenset[int]:
        """Of everything that ran for a technician: whoever descends from one cannot answer for the customer."""
        return self._live.process_ids()

    # -- the authority ----------------------------------------------------------------------------------------------

    def review(self) -> None:
        """Judge every live session and every question anew; after each new document, and every REVIEW_S."""
        self._live.review()
        view, now = self._view(), self._now()
        for session, (offer, admission) in list(self._asked.items()):
            try:
                may_go_on(Running(verified=admission.verified, asked=True, started_at=now), view=view, now=now)
            except Ended as exc:
                self._consent.withdraw(session)
                del self._asked[session]
                self._refuse(offer, exc)
        self._set_timer()

    async def close(self, reason: str = "agent_stopped") -> None:
        """End everything, and return when nothing is left of it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for session, (offer, _) in list(self._asked.items()):
            self._consent.withdraw(session)
            self._refuse(offer, Refused("the agent stops", code=reason))
        self._asked.clear()
        self._live.finish_all(reason, "the agent on the device stops")
        await self._live.ended()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self._host is not None:
            self._host.close()

    # -- inside: from an offer to a session -------------------------------------------------------------------------

    def _our_host(self) -> Host:
        if self._host is None:
            self._host = self._make_host()
        return self._host

    def _consider(self, offer: SessionOffer, *, may_fetch: bool) -> None:
        try:
            admission = admit(
                offer.request,
                session=offer.session,
                leg_url=offer.leg_url,
                view=self._view(),
                nonces=self._nonces,
                live=len(self._live) + len(self._asked),
                room=self._our_host().room_for_sessions(),
                present=self._our_host().somebody_present(),
                now=self._now(),
                monotonic=self._clock.monotonic(),
            )
            self._live.room_for(admission)
            account = self._account(admission)
            note_request(self._journal, admission.verified)
            self._ask_or_start(offer, admission, account)
        except PolicyBehind as exc:
            if may_fetch:
                self._fetching.add(offer.session)
                self._own(self._fetch_and_consider(offer, exc.wanted))
            else:
                self._refuse(offer, exc)
        except AuxilioError as exc:
            self._refuse(offer, exc)
        finally:
            self._top_up()

    async def _fetch_and_consider(self, offer: SessionOffer, wanted: PolicyNumber) -> None:
        try:
            async with asyncio.timeout(FETCH_WITHIN_S):
                await self._fetch_policy(wanted)
        except (TimeoutError, AuxilioError) as exc:
            log.info("the policy %s could not be fetched: %s", wanted, exc)
        finally:
            self._fetching.discard(offer.session)
        if not self._closed:
            self._consider(offer, may_fetch=False)
            self._set_timer()

    def _account(self, admission: Admission) -> str:
        """Before the customer is bothered; it is looked up again for every process. To look at the device, none is
        needed: nothing runs as one."""
        request = admission.verified.request
        if request.capabilities == (LOOKING,):
            return request.account
        return self._our_host().account(request.account).name

    def _ask_or_start(self, offer: SessionOffer, admission: Admission, account: str) -> None:
        """account: the one that the request's `admin` or `user` means now."""
        request, now = admission.verified.request, self._clock.monotonic()
        if admission.ask_s is None:
            self._start(offer, admission, asked=False)
            return
        technician = admission.verified.technician.name
        key = consent_key(request.session, request.case, account, technician)
        if self._consent.covers(key, request.capabilities, now):
            self._start(offer, admission, asked=True)
            return
        question = Question(
            session=request.session,
            technician=technician,
            purpose=request.purpose,
            case=request.case,
            capabilities=request.capabilities,
            account=account,
            until=now + admission.ask_s,
            until_at=int(self._now() + admission.ask_s),
        )
        self._consent.ask(question)
        self._asked[request.session] = (offer, admission)
        self._journal.record("consent_asked", session=request.session, until_at=question.until_at)
        self._send(SessionWaiting(session=request.session, until_at=question.until_at, wait_s=admission.ask_s))
        if self._ask is not None:
            self._ask(pending(question))

    def _answered(self, answered: Answered) -> None:
        question = answered.question
        offer, admission = self._asked.pop(question.session)
        self._journal.record("consent_answered", session=question.session, answer=answered.answer.value)
        if answered.answer is Answer.ALLOWED:
            self._start(offer, admission, asked=True)
        elif answered.answer is Answer.DENIED:
            self._refuse(offer, Refused("the customer said no", code="consent_denied"))
        else:
            hint = "Agree with the customer first; `auxilio-agent allow` on the device answers."
            refusal = Refused("nobody at the device answered in time", code="consent_timeout", hint=hint)
            self._refuse(offer, refusal)
        self._set_timer()

    def _start(self, offer: SessionOffer, admission: Admission, *, asked: bool) -> None:
        self._live.start(offer, admission, self._our_host(), asked=asked)

    # -- inside: words ----------------------------------------------------------------------------------------------

    def _refuse(self, offer: SessionOffer, why: AuxilioError) -> None:
        self._journal.record(
            "session_refused",
            session=escape(offer.session, limit=64),
            claimed_by=escape(claimed_name(offer.request), limit=64),
            code=why.reason,
            reason=why.message,
        )
        self._send(
            SessionRefused(session=offer.session, code=why.reason, message=escape(why.message), hint=escape(why.hint))
        )

    # -- inside: time -----------------------------------------------------------------------------------------------

    def _top_up(self) -> None:
        if not self._linked:
            return
        new = self._nonces.top_up(self._clock.monotonic())
        if new:
            self._send(Nonces(nonces=new, valid_s=int(NONCE_LIFE_S)))

    def _set_timer(self) -> None:
        """Wake up at the next deadline, whatever it is of."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        now = self._clock.monotonic()
        deadlines = [self._consent.next_deadline(), self._nonces.next_deadline(now) if self._linked else None]
        if self._live or self._asked:
            deadlines.append(now + REVIEW_S)
        next_at = min((d for d in deadlines if d is not None), default=None)
        if next_at is not None:
            self._timer = asyncio.get_running_loop().call_later(max(next_at - now, 0.0), self._on_timer)

    def _on_timer(self) -> None:
        for answered in self._consent.on_tick(self._clock.monotonic()):
            self._answered(answered)
        self._top_up()
        self.review()  # sets the timer anew

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
