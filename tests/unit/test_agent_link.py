"""The link's states as transcripts."""

from __future__ import annotations

from agent.link import Dial, LinkMachine, State
from protocol.policy import Relay

ONE, TWO = Relay(url="https://one:1"), Relay(url="https://two:2")


def longest(low: float, high: float) -> float:
    return high


def test_it_dials_at_once_and_then_waits_longer_each_time_by_turns() -> None:
    m = LinkMachine(longest, 0.0, 1000.0)
    assert m.on_tick((ONE, TWO), 0.0) == Dial(ONE)
    assert m.on_tick((ONE, TWO), 0.0) is None
    waits = []
    now = 0.0
    for _ in range(8):
        m.on_ended("refused", now, 1000.0)
        deadline = m.next_deadline()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
        assert m.on_tick((ONE, TWO), now) is not None
    assert waits == sorted(waits) and waits[-1] == 60.0
    assert m.relay == ONE, "eight failures later it is the first relay's turn again"


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
