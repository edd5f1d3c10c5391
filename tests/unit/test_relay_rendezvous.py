"""The rendezvous as a transcript: what happens, and what the relay then does."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from protocol.errors import Refused
from protocol.ids import DeviceId, OrganisationId, SessionId
from protocol.leg import Refused as LegRefused
from protocol.leg import Waiting
from relay.meeting import (
    LOST,
    NORMAL,
    REFUSED,
    RESTARTING,
    TRANSITIONS,
    WITHDRAWN,
    Changed,
    CloseAtDevice,
    HangUp,
    Say,
    Side,
    Splice,
    State,
)
from relay.rendezvous import (
    ANSWER_WITHIN_S,
    LONE_S,
    MAX_PER_DEVICE,
    SPLICE_WITHIN_S,
    TELL_WITHIN_S,
    WAIT_GRACE_S,
    Rendezvous,
)

KEY = (OrganisationId("o"), DeviceId("d"))
ID = SessionId("s")
S = (KEY[0], ID)
NO = LegRefused(code="consent_denied", message="no")


def opened(now: float = 0.0) -> Rendezvous:
    rendezvous = Rendezvous()
    rendezvous.open(ID, KEY, "ana", console_ticket="C", device_ticket="D", now=now)
    return rendezvous


def come(rendezvous: Rendezvous, ticket: str, leg: str, now: float = 1.0):
    place, side = rendezvous.claim(ID, ticket)
    return rendezvous.arrive(place, side, leg, now)


@pytest.mark.parametrize("order", ["CD", "DC"])
def test_two_legs_are_joined_whoever_comes_first(order: str) -> None:
    rendezvous = opened()
    rendezvous.device_accepts(S, 0.5)
    come(rendezvous, order[0], order[0])
    assert come(rendezvous, order[1], order[1]) == [Splice("C", "D"), Changed(S, "open")]
    assert rendezvous.next_deadline() is None


def test_the_devices_leg_is_its_yes_where_it_overtakes_the_word_over_the_link() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    assert Splice("c", "d") in come(rendezvous, "D", "d")
    assert rendezvous.device_accepts(S, 2.0) == []


@pytest.mark.parametrize("ticket", ["C", "D"])
def test_a_ticket_is_used_once(ticket: str) -> None:
    rendezvous = opened()
    rendezvous.claim(ID, ticket)
    with pytest.raises(Refused) as exc:
        rendezvous.claim(ID, ticket)
    assert exc.value.reason == "bad_ticket"


@pytest.mark.parametrize(("session", "ticket"), [(ID, "x"), (ID, ""), (SessionId("t"), "C"), (ID, "\udcff")])
def test_a_wrong_ticket_and_an_unknown_session_are_refused_alike(session: SessionId, ticket: str) -> None:
    with pytest.raises(Refused) as exc:
        opened().claim(session, ticket)
    assert exc.value.message == "this ticket opens no leg of this session"


def test_a_console_that_waits_hears_that_the_customer_is_asked() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    assert rendezvous.device_waits(S, 99, 60, 2.0) == [Say("c", Waiting(until_at=99)), Changed(S, "waiting")]
    assert rendezvous.next_deadline() == 2.0 + 60 + WAIT_GRACE_S


def test_a_console_that_comes_later_hears_it_too() -> None:
    rendezvous = opened()
    rendezvous.device_waits(S, 99, 60, 2.0)
    assert come(rendezvous, "C", "c") == [Say("c", Waiting(until_at=99))]


def test_a_refusal_reaches_the_console_in_the_devices_words() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    assert rendezvous.device_refuses(S, NO, 2.0) == [
        Say("c", NO),
        HangUp("c", REFUSED, "no"),
        Changed(S, "refused", "consent_denied", "no"),
    ]


def test_a_refusal_waits_for_a_console_whose_leg_is_still_being_dialled() -> None:
    rendezvous = opened()
    rendezvous.device_refuses(S, NO, 2.0)
    assert come(rendezvous, "C", "c", 3.0) == [Say("c", NO), HangUp("c", REFUSED, "no")]


def test_an_outcome_is_forgotten_after_a_while() -> None:
    rendezvous = opened()
    rendezvous.device_refuses(S, NO, 2.0)
    rendezvous.tick(2.0 + TELL_WITHIN_S)
    assert len(rendezvous) == 0


def test_a_device_has_no_ticket_any_more_once_it_refused() -> None:
    rendezvous = opened()
    rendezvous.device_refuses(S, NO, 2.0)
    with pytest.raises(Refused):
        rendezvous.claim(ID, "D")


def ended(effects) -> str:
    return next(effect.reason for effect in effects if isinstance(effect, Changed))


def test_a_silent_device_ends_it() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    assert rendezvous.tick(ANSWER_WITHIN_S - 0.1) == []
    effects = rendezvous.tick(ANSWER_WITHIN_S)
    assert ended(effects) == "device_silent"
    assert CloseAtDevice(KEY, ID, "device_silent") in effects


def test_a_customer_who_does_not_answer_ends_it_even_if_the_device_forgets_to_say_so() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    rendezvous.device_waits(S, 99, 60, 0.0)
    assert ended(rendezvous.tick(60 + WAIT_GRACE_S)) == "consent_timeout"


@pytest.mark.parametrize("wait_s", [-1.0, 1e12, float("inf")])
def test_a_device_cannot_keep_a_console_waiting_without_bound(wait_s: float) -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    rendezvous.device_waits(S, 99, wait_s, 0.0)
    deadline = rendezvous.next_deadline()
    assert deadline is not None and deadline <= 600 + WAIT_GRACE_S


def test_an_accepted_session_whose_device_never_dials_ends() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    rendezvous.device_accepts(S, 5.0)
    assert ended(rendezvous.tick(5.0 + SPLICE_WITHIN_S)) == "device_silent"


def test_a_lone_device_leg_is_hung_up() -> None:
    rendezvous = opened()
    come(rendezvous, "D", "d", 1.0)
    effects = rendezvous.tick(1.0 + LONE_S)
    assert HangUp("d", REFUSED, effects[0].reason) in effects
    assert ended(effects) == "console_left"


def test_a_console_that_never_dials_ends_it() -> None:
    effects = opened().tick(LONE_S)
    assert ended(effects) == "console_left"
    assert CloseAtDevice(KEY, ID, "console_left") in effects


def test_a_console_that_leaves_while_the_customer_is_asked_withdraws_it() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    rendezvous.device_waits(S, 99, 60, 2.0)
    effects = rendezvous.left(S, "console", "c", clean=True, reason="", now=3.0)
    assert CloseAtDevice(KEY, ID, "console_left") in effects


def test_a_clean_close_of_one_side_closes_the_other_and_a_broken_one_says_so() -> None:
    for clean, code, reason in ((True, NORMAL, "closed"), (False, LOST, "lost")):
        rendezvous = opened()
        come(rendezvous, "C", "c")
        come(rendezvous, "D", "d")
        effects = rendezvous.left(S, "device", "d", clean=clean, reason="bye" if clean else "", now=9.0)
        assert isinstance(effects[0], HangUp) and (effects[0].leg, effects[0].code) == ("c", code)
        assert ended(effects) == reason


def test_the_devices_word_on_the_end_is_better_than_ours() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    come(rendezvous, "D", "d")
    rendezvous.left(S, "device", "d", clean=False, reason="", now=9.0)
    assert rendezvous.device_ended(S, "expired", "the certificate ended", 9.5) == [
        Changed(S, "ended", "expired", "the certificate ended")
    ]
    assert rendezvous.device_ended(S, "closed", "again", 9.6) == []


def test_a_session_that_the_device_ends_drains_before_its_legs_are_cut() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    come(rendezvous, "D", "d")
    effects = rendezvous.device_ended(S, "revoked", "revoked", 9.0)
    assert not any(isinstance(effect, HangUp) for effect in effects)
    late = rendezvous.tick(9.0 + 60)
    assert {effect.leg for effect in late if isinstance(effect, HangUp)} == {"c", "d"}


def test_a_withdrawn_session_is_cut_at_once_on_both_sides() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    come(rendezvous, "D", "d")
    effects = rendezvous.withdraw(S, "revoked", "ana was revoked", 9.0)
    assert {(e.leg, e.code) for e in effects if isinstance(e, HangUp)} == {("c", WITHDRAWN), ("d", WITHDRAWN)}
    assert CloseAtDevice(KEY, ID, "revoked") in effects


def test_sessions_that_are_joined_outlive_the_devices_link_and_others_do_not() -> None:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    come(rendezvous, "D", "d")
    assert rendezvous.device_gone(KEY, 9.0) == []
    waiting = opened()
    assert ended(waiting.device_gone(KEY, 9.0)) == "device_offline"


def test_a_late_word_of_a_session_that_is_over_changes_nothing() -> None:
    rendezvous = opened()
    rendezvous.withdraw(S, "withdrawn", "", 1.0)
    assert rendezvous.device_waits(S, 1, 1, 2.0) == []
    assert rendezvous.device_accepts(S, 2.0) == []
    assert rendezvous.device_refuses(S, NO, 2.0) == []


def test_one_device_has_a_bounded_number_of_sessions() -> None:
    rendezvous = Rendezvous()
    for number in range(MAX_PER_DEVICE):
        rendezvous.open(SessionId(str(number)), KEY, str(number), console_ticket="C", device_ticket="D", now=0)
    with pytest.raises(Refused) as exc:
        rendezvous.open(ID, KEY, "ana", console_ticket="C", device_ticket="D", now=0)
    assert exc.value.reason == "too_many_sessions"
    other = (KEY[0], DeviceId("e"))
    rendezvous.open(ID, other, "ana", console_ticket="C", device_ticket="D", now=0)


def test_a_second_session_of_the_same_id_is_refused() -> None:
    with pytest.raises(Refused) as exc:
        opened().open(ID, KEY, "ana", console_ticket="C", device_ticket="D", now=0)
    assert exc.value.reason == "session_known"


def test_a_session_of_another_organisation_with_the_same_id_is_another_session() -> None:
    rendezvous = opened()
    foreign = (OrganisationId("p"), KEY[1])
    rendezvous.open(ID, foreign, "ana", console_ticket="c", device_ticket="d", now=0)
    other = (foreign[0], ID)
    assert rendezvous.claim(ID, "c") == (other, "console")
    assert rendezvous.claim(ID, "C") == (S, "console")
    assert rendezvous.arrive(other, "console", "their leg", 1.0) == []
    assert Splice("our leg", "D") not in rendezvous.arrive(S, "console", "our leg", 1.0)
    ended_there = rendezvous.withdraw(other, "withdrawn", "", 2.0)
    assert HangUp("their leg", REFUSED, "") in ended_there and Changed(other, "ended", "withdrawn", "") in ended_there
    assert rendezvous.arrive(*rendezvous.claim(ID, "D"), "D", 3.0) == [Splice("our leg", "D"), Changed(S, "open")]
    rendezvous.tick(1000.0)
    assert len(rendezvous) == 1  # theirs is forgotten, ours goes on
    with pytest.raises(Refused):
        rendezvous.claim(ID, "d")


def test_one_organisation_leaves_half_of_the_places_to_others() -> None:
    rendezvous = Rendezvous(limit=8)

    def open_one(organisation: str, number: int) -> None:
        key = (OrganisationId(organisation), DeviceId(str(number)))
        rendezvous.open(SessionId(str(number)), key, str(number), console_ticket="C", device_ticket="D", now=0)

    for number in range(4):
        open_one("o", number)
    with pytest.raises(Refused) as exc:
        open_one("o", 4)
    assert exc.value.reason == "too_many_sessions"
    for number in range(4):
        open_one("p", number)


# -- legs that were lost, and come again -----------------------------------------------------------------------------


def spliced() -> Rendezvous:
    rendezvous = opened()
    come(rendezvous, "C", "c")
    come(rendezvous, "D", "d")
    return rendezvous


def reopened(rendezvous: Rendezvous, now: float = 20.0) -> list[object]:
    effects = rendezvous.close_lost(S, KEY, "ana")
    rendezvous.open(ID, KEY, "ana", console_ticket="C2", device_ticket="D2", now=now)
    return effects


def test_a_device_that_lost_its_leg_says_so_before_the_relay_has_noticed() -> None:
    rendezvous = spliced()
    reason = "the connection of the device was lost"
    hung_up = [HangUp("c", LOST, reason), HangUp("d", LOST, reason)]
    assert rendezvous.device_away(S, 9.0) == [*hung_up, Changed(S, "ended", "lost", reason)]
    assert rendezvous.device_away(S, 9.1) == []


def test_a_device_whose_leg_broke_as_the_console_closed_it_is_told_that_nobody_comes() -> None:
    rendezvous = spliced()
    rendezvous.left(S, "console", "c", clean=True, reason="done", now=9.0)
    assert rendezvous.device_away(S, 9.1) == [CloseAtDevice(KEY, ID, "closed")]


def test_a_session_that_was_lost_begins_anew_and_its_old_legs_and_tickets_are_nobodys() -> None:
    rendezvous = spliced()
    rendezvous.left(S, "console", "c", clean=False, reason="", now=9.0)
    assert reopened(rendezvous) == [HangUp("d", LOST, "the session goes on over another leg")]
    for old in "CD":
        with pytest.raises(Refused):
            rendezvous.claim(ID, old)
    come(rendezvous, "C2", "c2")
    assert rendezvous.left(S, "device", "d", clean=False, reason="", now=21.0) == []
    assert come(rendezvous, "D2", "d2") == [Splice("c2", "d2"), Changed(S, "open")]


def test_one_end_may_ask_again_while_the_relay_sees_both_legs_standing() -> None:
    rendezvous = spliced()
    assert [effect.leg for effect in reopened(rendezvous)] == ["c", "d"]


def test_a_relay_that_remembers_nothing_of_a_session_offers_it_as_if_it_were_new() -> None:
    rendezvous = Rendezvous()
    assert reopened(rendezvous) == []
    come(rendezvous, "D2", "d2")
    assert Splice("c2", "d2") in come(rendezvous, "C2", "c2")


@pytest.mark.parametrize(("key", "who"), [((KEY[0], DeviceId("other")), "ana"), (KEY, "bob")])
def test_nobody_elses_session_is_begun_anew(key: tuple[OrganisationId, DeviceId], who: str) -> None:
    rendezvous = spliced()
    with pytest.raises(Refused) as exc:
        rendezvous.close_lost(S, key, who)
    assert exc.value.reason == "session_known"


def test_a_question_to_the_customer_is_not_begun_anew() -> None:
    rendezvous = opened()
    rendezvous.device_waits(S, 99, 60, 2.0)
    with pytest.raises(Refused):
        rendezvous.close_lost(S, KEY, "ana")


def test_a_relay_that_stops_hangs_up_so_that_both_come_again_and_refuses_what_had_not_begun() -> None:
    rendezvous = spliced()
    asked = SessionId("t")
    rendezvous.open(asked, KEY, "ana", console_ticket="E", device_ticket="F", now=0.0)
    assert rendezvous.beginning == 1
    effects = rendezvous.restart(5.0)
    assert {effect.leg: effect.code for effect in effects if isinstance(effect, HangUp)} == {
        "c": RESTARTING,
        "d": RESTARTING,
    }
    assert {e.place[1]: e.reason for e in effects if isinstance(e, Changed)} == {ID: "lost", asked: "relay_restarting"}
    assert rendezvous.beginning == 0


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: states follow the table, nobody is spliced twice, everything ends."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.rendezvous = opened()
        self.state: State = "offered"
        self.spliced = 0
        self.legs: dict[Side, str] = {}

    def take(self, effects) -> None:
        for effect in effects:
            if isinstance(effect, Changed):
                assert effect.state == self.state or effect.state in TRANSITIONS[self.state]
                self.state = effect.state
            self.spliced += isinstance(effect, Splice)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.rendezvous.tick(self.now))

    @rule(ticket=st.sampled_from("CDX"))
    def come(self, ticket: str) -> None:
        try:
            _, side = self.rendezvous.claim(ID, ticket)
        except Refused:
            return
        self.legs[side] = ticket
        self.take(self.rendezvous.arrive(S, side, ticket, self.now))

    @precondition(lambda self: self.legs)
    @rule(data=st.data(), clean=st.booleans())
    def leave(self, data, clean: bool) -> None:
        side = data.draw(st.sampled_from(sorted(self.legs)))
        leg = self.legs.pop(side)
        self.take(self.rendezvous.left(S, side, leg, clean=clean, reason="", now=self.now))

    @rule()
    def asked(self) -> None:
        self.take(self.rendezvous.device_waits(S, 1, 30, self.now))

    @rule()
    def accepted(self) -> None:
        self.take(self.rendezvous.device_accepts(S, self.now))

    @rule()
    def refused(self) -> None:
        self.take(self.rendezvous.device_refuses(S, NO, self.now))

    @rule()
    def ended_by_device(self) -> None:
        self.take(self.rendezvous.device_ended(S, "closed", "", self.now))

    @rule()
    def gone(self) -> None:
        self.take(self.rendezvous.device_gone(KEY, self.now))

    @rule()
    def withdrawn(self) -> None:
        self.take(self.rendezvous.withdraw(S, "withdrawn", "", self.now))

    @invariant()
    def joined_once_at_most(self) -> None:
        assert self.spliced <= 1

    @invariant()
    def it_has_a_deadline_unless_it_is_open_or_gone(self) -> None:
        if self.state != "open" and len(self.rendezvous):
            assert self.rendezvous.next_deadline() is not None


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_every_state_is_in_the_table_and_two_of_them_are_the_end() -> None:
    assert set(TRANSITIONS) == set(get_args(State))
    assert {state for state, after in TRANSITIONS.items() if not after} == {"refused", "ended"}


def again() -> Rendezvous:
    """A session that stands, whose legs were lost, and that its technician asked for anew."""
    rendezvous = Rendezvous()
    rendezvous.open(ID, KEY, "ana", console_ticket="C", device_ticket="D", now=0.0, again=True)
    rendezvous.device_accepts(S, 0.5)
    return rendezvous


@pytest.mark.parametrize("how", ["never came", "left", "device offline", "device silent"])
def test_an_attempt_that_fails_does_not_end_the_session_that_stands(how: str) -> None:
    rendezvous = again()
    if how == "device silent":
        come(rendezvous, "C", "c")
        said = rendezvous.tick(5.0 + SPLICE_WITHIN_S)
    else:
        come(rendezvous, "D", "d")
        if how == "never came":
            said = rendezvous.tick(5.0 + LONE_S)
        elif how == "left":
            said = rendezvous.left(S, "device", "d", clean=False, reason="", now=2.0)
        else:
            said = rendezvous.device_gone(KEY, 2.0)
    assert not any(isinstance(effect, CloseAtDevice) for effect in said), "the device would end it"
    assert all(effect.code == LOST for effect in said if isinstance(effect, HangUp))
    assert Changed(S, "ended", "lost", meeting_message(rendezvous)) in said
    rendezvous.close_lost(S, KEY, "ana")
    assert rendezvous.get(S) is None, "the next attempt finds its place free"


def meeting_message(rendezvous: Rendezvous) -> str:
    meeting = rendezvous.get(S)
    assert meeting is not None
    return meeting.message


def test_what_the_device_said_of_an_attempt_is_what_the_next_one_hears() -> None:
    rendezvous = again()
    rendezvous.device_refuses(S, LegRefused(code="no_such_session", message="the session is over"), 1.0)
    with pytest.raises(Refused) as caught:
        rendezvous.close_lost(S, KEY, "ana")
    assert caught.value.reason == "no_such_session"
