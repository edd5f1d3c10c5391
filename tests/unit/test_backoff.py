"""When an agent dials again."""

from __future__ import annotations

import math
import random

import pytest

from protocol.backoff import CALM_S, CAP_S, FIRST_S, LONGEST_RETURN_S, SHORTEST_S, Backoff, delay_s


def most(low: float, high: float) -> float:
    return high


def least(low: float, high: float) -> float:
    return low


def test_the_wait_grows_to_a_minute_and_never_beyond() -> None:
    assert [delay_s(attempt, most) for attempt in range(6)] == [4.0, 8.0, 16.0, 32.0, CAP_S, CAP_S]
    assert delay_s(10**9, most) == CAP_S
    assert all(delay_s(attempt, least) == SHORTEST_S for attempt in range(10))


def test_waits_are_spread_over_the_whole_range() -> None:
    uniform = random.Random(1).uniform
    waits = sorted(delay_s(9, uniform) for _ in range(1000))
    assert waits[0] < 5 and waits[-1] > 56
    assert 28 < sum(waits) / len(waits) < 33


def test_failures_are_forgotten_only_after_a_minute_of_calm() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.disconnected(0.0)
    assert backoff.next_delay_s(most) == CAP_S
    backoff.connected(100.0)
    backoff.disconnected(100.0 + CALM_S - 1)
    assert backoff.next_delay_s(most) == CAP_S
    backoff.connected(200.0)
    backoff.disconnected(200.0 + CALM_S)
    assert backoff.failures == 0
    assert backoff.next_delay_s(most) == FIRST_S


def test_an_attempt_that_never_connected_is_a_failure() -> None:
    backoff = Backoff()
    backoff.connected(0.0)
    backoff.disconnected(1000.0)
    backoff.disconnected(2000.0)
    assert backoff.failures == 1


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        (30.0, 30.0, 45.0),
        (0.0, SHORTEST_S, 2 * SHORTEST_S),
        (-5.0, SHORTEST_S, 2 * SHORTEST_S),
        (1e9, LONGEST_RETURN_S, 1.5 * LONGEST_RETURN_S),
        (math.inf, LONGEST_RETURN_S, 1.5 * LONGEST_RETURN_S),
        (math.nan, SHORTEST_S, 2 * SHORTEST_S),
    ],
)
def test_a_relay_may_ask_for_a_while_and_jitter_is_added(asked: float, low: float, high: float) -> None:
    backoff = Backoff()
    assert backoff.next_delay_s(least, return_after_s=asked) == low
    assert backoff.next_delay_s(most, return_after_s=asked) == high
