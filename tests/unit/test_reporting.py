"""When to look at which section, and which report to send: transcripts of the machine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.reporting import (
    ANSWER_S,
    BATTERY_FACTOR,
    CHEAP_S,
    FIRST_S,
    MAX_JUMP,
    MAX_MISSING_ROUNDS,
    REFRESH_S,
    RETRY_S,
    SOFTWARE_S,
    UPDATES_S,
    Collect,
    Effect,
    Forget,
    PutBlobs,
    ReportMachine,
    SendReport,
    StartOver,
)
from protocol.ids import sha256

A, B, C = (sha256(text) for text in (b"a", b"b", b"c"))


def machine(*waiting: int) -> ReportMachine:
    return ReportMachine(("memory", "software"), {}, waiting, 0.0)


def test_everything_is_looked_at_at_once_and_then_at_its_own_pace() -> None:
    m = machine()
    assert m.on_tick(0.0) == [Collect(("memory", "software"))]
    assert m.on_tick(1.0) == [], "one collection at a time"
    assert m.on_collected({"memory": A, "software": B}, 2.0)
    m.on_stored(1, {"memory": A, "software": B}, 2.0)
    assert m.next_deadline() == 2.0 + CHEAP_S
    assert m.on_tick(2.0 + CHEAP_S) == [Collect(("memory",))]
    assert not m.on_collected({"memory": A}, 400.0), "nothing changed, nothing to report"
    assert m.on_tick(2.0 + SOFTWARE_S) == [Collect(("memory", "software"))]


def test_what_changed_is_reported_and_what_did_not_is_not() -> None:
    m = ReportMachine(("memory",), {"memory": A}, (), 0.0)
    m.on_tick(0.0)
    assert not m.on_collected({"memory": A}, 0.0)
    m.touch("memory", 5.0)
    assert m.on_tick(5.0) == [Collect(("memory",))]
    assert m.on_collected({"memory": B}, 5.0)


def test_on_battery_it_looks_less_often_until_the_battery_says_otherwise() -> None:
    m = ReportMachine(("battery", "software"), {}, (), 0.0)
    m.on_tick(0.0)
    m.on_collected({"battery": A, "software": A}, 0.0, on_battery=True)
    assert m.next_deadline() == CHEAP_S * BATTERY_FACTOR
    m.touch("software", 1.0)
    assert m.on_tick(1.0) == [Collect(("software",))]
    m.on_collected({"software": B}, 1.0)
    assert m.on_tick(CHEAP_S * BATTERY_FACTOR) == [Collect(("battery",))]
    assert m.next_deadline() == float("inf")
    m.on_collected({"battery": B}, 1200.0, on_battery=False)
    assert m.next_deadline() == 1200.0 + CHEAP_S


def test_though_nothing_changed_it_reports_once_a_day() -> None:
    m = ReportMachine(("memory",), {"memory": A}, (), 0.0)
    now, reports = 0.0, []
    while now < 3 * REFRESH_S + CHEAP_S:
        assert m.on_tick(now) == [Collect(("memory",))]
        if m.on_collected({"memory": A}, now):
            reports.append(now)
            m.on_stored(len(reports), {"memory": A}, now)
        now = m.next_deadline()
    assert reports == [REFRESH_S, 2 * REFRESH_S, 3 * REFRESH_S]


def test_reports_go_one_at_a_time_oldest_first_and_are_forgotten_when_acknowledged() -> None:
    m = machine(4, 3)
    assert m.link_up(2, 0.0) == [SendReport(3)]
    assert m.on_stored(5, {"memory": A}, 1.0) == []
    assert m.on_ack(3, 2.0) == [Forget(3), SendReport(4)]
    assert m.on_ack(4, 3.0) == [Forget(4), SendReport(5)]
    assert m.on_ack(5, 4.0) == [Forget(5)]


def test_what_the_relay_already_has_is_forgotten_when_the_link_comes_up() -> None:
    m = machine(3, 4, 5)
    assert m.link_up(4, 0.0) == [Forget(3), SendReport(4)], "is its 4 ours? only the answer to ours tells"
    assert m.on_ack(4, 1.0) == [Forget(4), SendReport(5)]


def test_a_relay_that_lost_our_newest_report_is_told_everything_anew() -> None:
    """It was restored from a backup: nothing changed on the device, and still it has to be said."""
    m = ReportMachine(("memory",), {"memory": A}, (), 0.0, newest=7)
    m.on_tick(0.0)
    assert not m.on_collected({"memory": A}, 0.0)
    assert m.link_up(7, 1.0) == [], "it has all there is"
    assert m.link_up(4, 2.0) == [StartOver()]
    assert m.on_tick(2.0) == [Collect(("memory",))]
    assert m.on_collected({"memory": A}, 2.0)
    assert m.on_stored(8, {"memory": A}, 2.0) == [SendReport(8)]


def test_a_relay_that_never_got_our_newest_report_gets_it_as_long_as_it_is_kept() -> None:
    m = ReportMachine(("memory",), {"memory": A}, (5, 6, 7), 0.0, newest=7)
    assert m.link_up(4, 0.0) == [SendReport(5)]


def test_a_device_that_forgot_its_numbers_starts_over_above_the_relays() -> None:
    """Its state was lost, or set back to an older copy: what it collected meanwhile has a number of another life."""
    m = ReportMachine(("memory",), {}, (1, 2), 0.0)
    assert m.link_up(7, 0.0) == [StartOver(), Forget(7)]
    assert m.on_tick(0.0) == [Collect(("memory",))]
    assert m.link_up(7, 1.0) == [], "once is enough"


def test_what_is_being_collected_while_everything_has_to_be_said_anew_is_not_mistaken_for_everything() -> None:
    m = ReportMachine(("memory", "software"), {"memory": A, "software": B}, (), 0.0, newest=3)
    m.on_tick(0.0)
    m.on_collected({"memory": A, "software": B}, 0.0)
    assert m.on_tick(CHEAP_S) == [Collect(("memory",))]
    assert m.link_up(1, CHEAP_S) == [StartOver()]
    assert not m.on_collected({"memory": A}, CHEAP_S)
    assert m.on_tick(CHEAP_S) == [Collect(("memory", "software"))]


def test_missing_blobs_are_put_and_the_report_is_sent_again() -> None:
    m = machine(1)
    m.link_up(0, 0.0)
    assert m.on_missing(1, (A, B), 1.0) == [PutBlobs(1, (A, B))]
    assert m.blobs_put(1, 2.0) == [SendReport(1)]
    assert m.on_missing(9, (A,), 2.0) == [], "an answer to what was not sent"


def test_a_relay_that_goes_on_missing_is_left_for_later() -> None:
    m = machine(1)
    m.link_up(0, 0.0)
    for _ in range(MAX_MISSING_ROUNDS):
        assert m.on_missing(1, (A,), 1.0) == [PutBlobs(1, (A,))]
    assert m.on_missing(1, (A,), 1.0) == []
    m.on_collected({"memory": A, "software": A}, 1.0)
    assert SendReport(1) in m.on_tick(1.0 + RETRY_S)


def test_without_an_answer_a_report_is_sent_again() -> None:
    m = machine(1)
    m.link_up(0, 0.0)
    m.on_collected({"memory": A, "software": A}, 0.0)
    assert m.on_tick(ANSWER_S - 1) == []
    assert m.on_tick(ANSWER_S) == [SendReport(1)]


def test_a_lost_link_loses_nothing() -> None:
    m = machine(1)
    m.link_up(0, 0.0)
    m.link_down()
    assert m.blobs_put(1, 1.0) == []
    assert m.link_up(0, 2.0) == [SendReport(1)]


def test_a_report_that_can_never_be_completed_is_followed_by_a_whole_one() -> None:
    m = machine(1, 2)
    m.link_up(0, 0.0)
    m.on_tick(0.0)
    m.on_collected({"memory": A, "software": B}, 0.0)
    m.on_stored(3, {"memory": A, "software": B}, 0.0)
    assert m.abandon(1, 10.0) == [StartOver(), SendReport(2)]
    assert m.on_tick(10.0) == [Collect(("memory", "software"))]
    assert m.on_collected({"memory": A, "software": B}, 10.0), "the same sections count as changed"


def test_a_relay_that_claims_reports_that_nobody_can_have_made_does_not_use_the_numbers_up() -> None:
    m = machine()
    assert m.believable(7) == 7
    assert m.believable(2**53 - 1) == MAX_JUMP
    m.link_up(m.believable(2**53 - 1), 0.0)
    assert m.newest == MAX_JUMP


EVENTS = st.lists(
    st.sampled_from(["store", "up", "down", "deliver", "drop", "put", "tick", "lose_answer"]), min_size=1, max_size=60
)


class Post:
    """A machine, its spool, and a relay that loses what is under way at any time, but nothing that it committed."""

    def __init__(self) -> None:
        self.machine = ReportMachine(("memory",), {}, (), 0.0)
        self.spool: set[int] = set()
        self.committed: set[int] = set()
        self.sent: list[int] = []
        self.linked = False
        self.now = 0.0
        self.newest = 0

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SendReport(number):
                    assert self.linked and number in self.spool, "only what is kept can be sent, and only on a link"
                    self.sent.append(number)
                case Forget(number):
                    lost = {n for n in self.spool if n <= number} - self.committed
                    assert not lost, f"forgot {lost}, which the relay has not committed"
                    self.spool = {n for n in self.spool if n > number}

    def event(self, event: str) -> None:
        self.now += 1.0
        if event == "store":
            self.newest += 1
            self.spool.add(self.newest)
            self.do(self.machine.on_stored(self.newest, {"memory": sha256(b"%d" % self.newest)}, self.now))
        elif event == "up" and not self.linked:
            self.linked = True
            self.do(self.machine.link_up(max(self.committed, default=0), self.now))
        elif event == "down":
            self.linked, self.sent = False, []
            self.machine.link_down()
        elif event == "tick":
            self.now += ANSWER_S
            self.do([e for e in self.machine.on_tick(self.now) if not isinstance(e, Collect)])
        elif self.sent:
            number = self.sent.pop(0)
            if event == "put":
                self.do(self.machine.on_missing(number, (A,), self.now))
                self.do(self.machine.blobs_put(number, self.now))
            elif event in ("deliver", "lose_answer"):
                self.committed.add(number)
                if event == "deliver":
                    self.do(self.machine.on_ack(number, self.now))


@given(EVENTS)
def test_whatever_is_lost_on_the_way_nothing_is_forgotten_unacknowledged_and_all_arrives(events: list[str]) -> None:
    post = Post()
    for event in events:
        post.event(event)
    post.event("down")
    post.event("up")
    for _ in range(2 * len(events)):
        post.event("deliver")
    assert not post.spool
    assert post.committed == set(range(1, post.newest + 1)), "each arrived"


def test_updates_are_asked_for_after_the_first_report_and_four_times_a_day() -> None:
    m = ReportMachine(("memory", "updates"), {}, (), 0.0)
    assert m.on_tick(0.0) == [Collect(("memory",))]
    m.on_collected({"memory": A}, 1.0)
    assert m.on_tick(FIRST_S["updates"]) == [Collect(("updates",))]
    m.on_collected({"updates": B}, 100.0)
    due = [at for at in range(101, 100 + 24 * 3600) if "updates" in _names_due(m, float(at))]
    assert len(due) == 3 and due[0] == 100 + UPDATES_S


def _names_due(machine: ReportMachine, now: float) -> tuple[str, ...]:
    names = tuple(name for effect in machine.on_tick(now) if isinstance(effect, Collect) for name in effect.names)
    if names:
        machine.on_collected(dict.fromkeys(names, A), now)
    return names


def test_disks_are_asked_once_an_hour_and_programs_started_four_times() -> None:
    names = ("memory", "health", "services")
    m = ReportMachine(names, {}, (), 0.0)
    m.on_tick(0.0)
    m.on_collected(dict.fromkeys(names, A), 0.0)
    asked: dict[str, int] = dict.fromkeys(names, 0)
    for now in range(0, 3601, 60):
        for effect in m.on_tick(float(now)):
            assert isinstance(effect, Collect)
            asked.update({name: asked[name] + 1 for name in effect.names})
            m.on_collected(dict.fromkeys(effect.names, A), float(now))
    assert asked == {"memory": 12, "services": 4, "health": 1}
