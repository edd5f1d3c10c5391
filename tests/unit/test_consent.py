"""Consent: per case and capability, revocable, and silence is a no."""

from __future__ import annotations

import pytest

from agent.consent import CONSENT_LIFE_S, MAX_ASKED, Answer, ConsentBook, ConsentKey, Question, consent_key
from protocol.errors import Refused
from protocol.ids import SessionId


def question(
    session: str = "s1",
    case: str | None = "C-1",
    capabilities: tuple[str, ...] = ("shell",),
    account: str = "user",
    until: float = 60.0,
) -> Question:
    return Question(
        session=SessionId(session),
        technician="ana",
        purpose="help",
        case=case,
        capabilities=capabilities,
        account=account,
        until=until,
        until_at=1_800_000_060,
    )


def code_of(act: object) -> str:
    assert callable(act)
    with pytest.raises(Refused) as caught:
        act()
    return caught.value.reason


def given(*questions: Question) -> ConsentBook:
    book = ConsentBook()
    for asked in questions:
        book.ask(asked)
        assert book.allow(asked.session, now=0.0).answer is Answer.ALLOWED
    return book


def test_what_was_allowed_covers_the_case_and_capability_and_nothing_else() -> None:
    book = given(question())
    key = ConsentKey("case:C-1", "user", "ana")
    assert book.covers(key, ("shell",), now=1.0)
    assert not book.covers(key, ("shell", "files"), now=1.0)
    assert not book.covers(ConsentKey("case:C-2", "user", "ana"), ("shell",), now=1.0)
    assert not book.covers(ConsentKey("case:C-1", "admin", "ana"), ("shell",), now=1.0)
    assert not book.covers(ConsentKey("case:C-1", "user", "bob"), ("shell",), now=1.0)


def test_capabilities_add_up_within_a_case() -> None:
    book = given(question("s1"), question("s2", capabilities=("files",)))
    assert book.covers(question().key, ("shell", "files"), now=1.0)


def test_a_case_named_like_a_session_borrows_nothing_from_it() -> None:
    book = given(question("s1", case=None))
    assert book.covers(consent_key(SessionId("s1"), None, "user", "ana"), ("shell",), now=1.0)
    assert not book.covers(consent_key(SessionId("s2"), "s1", "user", "ana"), ("shell",), now=1.0)


def test_without_a_case_consent_ends_with_its_session() -> None:
    book = given(question("s1", case=None))
    book.forget_session(SessionId("s1"))
    assert book.given() == ()


def test_consent_lapses() -> None:
    book = given(question())
    assert book.next_deadline() == CONSENT_LIFE_S
    assert not book.covers(question().key, ("shell",), now=CONSENT_LIFE_S)
    assert book.on_tick(CONSENT_LIFE_S) == ()
    assert book.given() == ()
    assert book.next_deadline() is None


def test_silence_is_a_no() -> None:
    book = ConsentBook()
    book.ask(question(until=60.0))
    assert book.next_deadline() == 60.0
    assert book.on_tick(59.9) == ()
    [answered] = book.on_tick(60.0)
    assert answered.answer is Answer.TIMED_OUT
    assert book.asked() == ()
    assert not book.covers(question().key, ("shell",), now=60.0)


def test_a_yes_that_comes_too_late_is_a_no() -> None:
    book = ConsentBook()
    book.ask(question(until=60.0))
    assert book.allow(None, now=60.0).answer is Answer.TIMED_OUT
    assert book.given() == ()


def test_a_no_gives_nothing_and_may_be_asked_again() -> None:
    book = ConsentBook()
    book.ask(question())
    assert book.deny(None).answer is Answer.DENIED
    assert book.given() == ()
    book.ask(question())


def test_an_answer_without_a_name_means_the_only_question() -> None:
    book = ConsentBook()
    assert code_of(lambda: book.allow(None, 0.0)) == "nothing_asked"
    book.ask(question("s1"))
    book.ask(question("s2"))
    assert code_of(lambda: book.allow(None, 0.0)) == "ambiguous"
    assert code_of(lambda: book.deny(SessionId("s3"))) == "not_found"
    assert book.deny(SessionId("s2")).question.session == "s2"
    assert book.allow(None, 0.0).question.session == "s1"


def test_nobody_is_asked_twice_about_a_session_or_more_than_a_few_at_once() -> None:
    book = ConsentBook()
    book.ask(question("s0"))
    assert code_of(lambda: book.ask(question("s0"))) == "already_asked"
    for number in range(1, MAX_ASKED):
        book.ask(question(f"s{number}"))
    assert code_of(lambda: book.ask(question("more"))) == "too_many_questions"


def test_a_withdrawn_question_is_gone() -> None:
    book = ConsentBook()
    book.ask(question())
    answered = book.withdraw(SessionId("s1"))
    assert answered is not None
    assert answered.answer is Answer.WITHDRAWN
    assert book.withdraw(SessionId("s1")) is None
    assert code_of(lambda: book.allow(None, 0.0)) == "nothing_asked"


def test_consent_can_be_taken_back_by_case_or_altogether() -> None:
    book = given(question("s1", case="C-1"), question("s2", case="C-2"), question("s3", case=None))
    assert book.revoke("C-1") == (ConsentKey("case:C-1", "user", "ana"),)
    assert book.revoke("s3") == (ConsentKey("session:s3", "user", "ana"),)
    assert not book.covers(question().key, ("shell",), now=1.0)
    assert len(book.revoke()) == 1
    assert book.given() == ()
