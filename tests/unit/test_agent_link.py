"""The link's states as transcripts."""

from __future__ import annotations

from agent.link import NEXT_RELAY_S, Dial, LinkMachine, State, has_moved
from protocol.policy import Relay

ONE, TWO = Relay(url="https://one:1"), Relay(url="https://two:2")


def longest(low: float, high: float) -> float:
    return high


def fail(m: LinkMachine, now: float, relays: tuple[Relay, ...] = (ONE, TWO)) -> tuple[float, Relay]:
    """The dial under way fails: the time of the next one, and whom it is to."""
    m.on_ended("refused", now, 1000.0)
    deadline = m.next_deadline()
    assert deadline is not None
    dial = m.on_tick(relays, deadline)
    assert dial is not None
    return deadline, dial.relay


def linked(now: float = 0.0, relays: tuple[Relay, ...] = (ONE, TWO), last: str = "") -> LinkMachine:
    m = LinkMachine(longest, now, 1000.0, last=last)
    m.on_tick(relays, now)
    m.on_welcome(now, 1000.0)
    return m


def test_it_dials_at_once_goes_on_to_the_next_relay_and_waits_longer_after_each_round() -> None:
    m = LinkMachine(longest, 0.0, 1000.0)
    assert m.on_tick((ONE, TWO), 0.0) == Dial(ONE)
    assert m.on_tick((ONE, TWO), 0.0) is None
    waits, relays, now = [], [], 0.0
    for _ in range(12):
        then, relay = fail(m, now)
        waits.append(then - now)
        relays.append(relay)
        now = then
    assert waits[::2] == [NEXT_RELAY_S] * 6, "within a round there is hardly a wait"
    assert waits[1::2] == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert relays == [TWO, ONE] * 6


def test_a_lone_relay_is_dialled_less_and_less_often() -> None:
    m = LinkMachine(longest, 0.0, 1000.0)
    m.on_tick((ONE,), 0.0)
    waits, now = [], 0.0
    for _ in range(6):
        then, _ = fail(m, now, (ONE,))
        waits.append(then - now)
        now = then
    assert waits == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_dead_relay_costs_one_dial_and_is_left_alone_while_another_serves() -> None:
    m = LinkMachine(longest, 0.0, 1000.0)
    assert m.on_tick((ONE, TWO), 0.0) == Dial(ONE)
    now, relay = fail(m, 8.0)
    assert relay == TWO and now <= 9.0
    m.on_welcome(now, 1000.0)
    dials = []
    for _ in range(10):  # it breaks every two minutes, and is there again
        now += 120.0
        now, relay = fail(m, now)
        m.on_welcome(now, 1000.0)
        dials.append(relay)
    assert dials == [TWO] * 10


def test_a_relay_that_hangs_up_on_its_links_is_left_for_the_next() -> None:
    m = linked()
    assert fail(m, 5.0)[1] == TWO


def test_the_relay_that_served_before_a_restart_is_dialled_first_if_it_is_still_named() -> None:
    assert linked(last=TWO.url).relay == TWO
    assert linked(last="https://gone:1").relay == ONE


def test_what_is_no_relays_fault_moves_on_to_no_other() -> None:
    m = linked()
    m.on_ended("the network changed", 5.0, 1005.0, ours=True)
    m.on_network_changed(5.0)
    assert m.on_tick((ONE, TWO), 5.0) == Dial(ONE), "at once, and the same"


def test_what_is_no_relays_fault_makes_no_later_wait_longer() -> None:
    m = linked()
    for second in range(1, 7):
        m.on_ended("the network changed", second, 1000.0, ours=True)
        assert m.next_deadline() == second + 4.0
        m.on_tick((ONE, TWO), second + 4.0)
        m.on_welcome(second, 1000.0)


def test_a_network_that_changes_again_and_again_does_not_make_a_dead_relay_be_dialled_again_and_again() -> None:
    m = LinkMachine(longest, 0.0, 1000.0)
    m.on_tick((ONE,), 0.0)
    dials = []
    for second in range(600):
        if m.state is State.DIALLING:
            m.on_ended("refused", second, 1000.0)
        m.on_network_changed(second)
        if m.on_tick((ONE,), second) is not None:
            dials.append(second)
    assert dials[:3] == [0, 1, 2], "each of the first may be the change that helps"
    later = [second for second in dials if second >= 100]
    assert len(later) <= 500 / 10 + 1


def test_only_another_source_address_says_that_a_link_lost_its_way() -> None:
    assert has_moved("10.0.0.2", "10.0.0.3")
    assert not has_moved("10.0.0.2", "10.0.0.2")
    assert not has_moved("10.0.0.2", None), "no way at the moment: TCP may survive it"


def test_the_reason_that_ended_a_link_is_kept_through_the_failures_after_it() -> None:
    m = LinkMachine(longest, 0.0, 0.0)
    m.on_tick((ONE,), 0.0)
    m.on_welcome(1.0, 1001.0)
    assert m.state is State.LINKED and m.since_at == 1001
    m.on_ended("no answer to a ping", 200.0, 1200.0)
    m.on_tick((ONE,), 300.0)
    m.on_ended("connection refused", 300.0, 1300.0)
    assert (m.offline_reason, m.offline_since_at) == ("no answer to a ping", 1200)
    assert m.last_failure == "connection refused"


def test_a_goodbye_is_heeded_and_stays_with_the_same_relay() -> None:
    m = LinkMachine(longest, 0.0, 0.0)
    m.on_tick((ONE, TWO), 0.0)
    m.on_welcome(0.0, 0.0)
    m.on_ended("the relay restarts", 100.0, 100.0, return_after_s=30.0)
    deadline = m.next_deadline()
    assert deadline is not None and 130.0 <= deadline <= 145.0
    assert m.on_tick((ONE, TWO), deadline) == Dial(ONE)


def test_hurrying_ends_the_wait() -> None:
    m = LinkMachine(longest, 0.0, 0.0)
    m.on_tick((ONE,), 0.0)
    m.on_ended("refused", 0.0, 0.0)
    assert m.on_tick((ONE,), 0.5) is None
    m.hurry(0.5)
    assert m.on_tick((ONE,), 0.5) == Dial(ONE)


def test_without_a_relay_it_waits() -> None:
    m = LinkMachine(longest, 0.0, 0.0)
    assert m.on_tick((), 5.0) is None and m.state is State.WAITING
