"""Consent: the customer's permission, given per case and capability, revocable at any moment. A pure machine.

Nobody is asked twice in one case for the same technician, capability and account; something new is asked again. No
answer is a no. What was given lapses by itself, and is kept in memory alone: a restarted agent asks again.

    request --> asked --allow--> given --revoke / CONSENT_LIFE_S--> gone
                  |--deny / wait_s / withdraw--> refused

Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec

from protocol.errors import Refused
from protocol.ids import SessionId

CONSENT_LIFE_S = 12 * 3600.0
"""A working day. The customer who said yes in the morning does not expect a visitor the next night."""

MAX_ASKED = 4
"""Questions that may wait at once: one person answers them, and each technician is told when it is too many."""


class ConsentKey(msgspec.Struct, frozen=True):
    """What one consent is about. case: the case's id, or the session's where the request names none.

    Whom the customer let in is not somebody else who names the same case, and as whom not another person who has taken
    the seat: account is the one that `user` meant.
    """

    case: str
    account: str
    technician: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the customer is asked. until: when silence becomes a no (monotonic); until_at: the same, Unix seconds."""

    session: SessionId
    technician: str
    purpose: str
    case: str | None
    capabilities: tuple[str, ...]
    account: str
    until: float
    until_at: int

    @property
    def key(self) -> ConsentKey:
        return consent_key(self.session, self.case, self.account, self.technician)


class Answer(Enum):
    """What became of a question."""

    ALLOWED = "allowed"
    DENIED = "denied"
    TIMED_OUT = "timed_out"
    WITHDRAWN = "withdrawn"


class Answered(msgspec.Struct, frozen=True):
    question: Question
    answer: Answer


class Given(msgspec.Struct, frozen=True):
    key: ConsentKey
    capabilities: frozenset[str]
    until: float


def consent_key(session: SessionId, case: str | None, account: str, technician: str) -> ConsentKey:
    # The prefixes keep a case named like a session from borrowing that session's consent.
    return ConsentKey(f"case:{case}" if case is not None else f"session:{session}", account, technician)


class ConsentBook:
    def __init__(self) -> None:
        self._asked: dict[SessionId, Question] = {}
        self._given: dict[ConsentKey, dict[str, float]] = {}

    def covers(self, key: ConsentKey, capabilities: Iterable[str], now: float) -> bool:
        """True where every one of `capabilities` was allowed and has not lapsed."""
        given = self._given.get(key, {})
        return all(given.get(capability, -1.0) > now for capability in capabilities)

    def ask(self, question: Question) -> None:
        """Put `question` before the customer. Raises Refused with code too_many_questions or already_asked."""
        if question.session in self._asked:
            raise Refused("the customer is being asked about this session already", code="already_asked")
        if len(self._asked) >= MAX_ASKED:
            raise Refused(
                f"the customer already has {MAX_ASKED} questions to answer",
                code="too_many_questions",
                hint="Wait for the other technicians' requests to be answered.",
            )
        self._asked[question.session] = question

    def allow(self, session: SessionId | None, now: float) -> Answered:
        """The customer says yes. session None: to the only question. Raises Refused (see `only`)."""
        question = self._take(session)
        if question.until <= now:  # the answer came after both sides saw it become a no
            return Answered(question, Answer.TIMED_OUT)
        given = self._given.setdefault(question.key, {})
        given.update(dict.fromkeys(question.capabilities, now + CONSENT_LIFE_S))
        return Answered(question, Answer.ALLOWED)

    def deny(self, session: SessionId | None) -> Answered:
        """The customer says no. Raises Refused (see `only`)."""
        return Answered(self._take(session), Answer.DENIED)

    def withdraw(self, session: SessionId) -> Answered | None:
        """The technician gave up waiting. None: nothing was asked for this session."""
        question = self._asked.pop(session, None)
        return Answered(question, Answer.WITHDRAWN) if question is not None else None

    def revoke(self, case: str | None = None) -> tuple[ConsentKey, ...]:
        """Take back what was given for `case` (a case's or a session's id), or everything. Returns what is gone."""
        gone = tuple(k for k in self._given if case is None or k.case in (f"case:{case}", f"session:{case}"))
        for key in gone:
            del self._given[key]
        return gone

    def forget_session(self, session: SessionId) -> None:
        """A session without a case has ended, and its consent with it."""
        for key in [k for k in self._given if k.case == f"session:{session}"]:
            del self._given[key]

    def on_tick(self, now: float) -> tuple[Answered, ...]:
        """Turn silence into a no, and let old consent lapse."""
        late = tuple(q for q in self._asked.values() if q.until <= now)
        for question in late:
            del self._asked[question.session]
        for key, given in list(self._given.items()):
            kept = {capability: until for capability, until in given.items() if until > now}
            if kept:
                self._given[key] = kept
            else:
                del self._given[key]
        return tuple(Answered(question, Answer.TIMED_OUT) for question in late)

    def next_deadline(self) -> float | None:
        """When `on_tick` has something to do; None: never, as things are."""
        asked = [q.until for q in self._asked.values()]
        given = [until for given in self._given.values() for until in given.values()]
        return min([*asked, *given], default=None)

    def asked(self) -> tuple[Question, ...]:
        return tuple(self._asked.values())

    def given(self) -> tuple[Given, ...]:
        return tuple(Given(k, frozenset(g), min(g.values())) for k, g in self._given.items() if g)

    def only(self, session: SessionId | None) -> Question:
        """The question meant by an answer. Raises Refused with code nothing_asked, not_found or ambiguous."""
        if not self._asked:
            raise Refused("nobody asks for a session at the moment", code="nothing_asked")
        if session is not None:
            question = self._asked.get(session)
            if question is None:
                raise Refused("no such session is waiting for an answer", code="not_found")
            return question
        if len(self._asked) > 1:
            raise Refused(
                f"{len(self._asked)} requests are waiting",
                code="ambiguous",
                hint="Name the session: `auxilio-agent status` lists them.",
            )
        return next(iter(self._asked.values()))

    def _take(self, session: SessionId | None) -> Question:
        question = self.only(session)
        del self._asked[question.session]
        return question
