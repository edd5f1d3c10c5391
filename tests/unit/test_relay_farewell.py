"""When agents are asked back after a restart: evenly, within bounds, whatever their number."""

from __future__ import annotations

import itertools
import random

import pytest

from protocol.backoff import LONGEST_RETURN_S, Backoff
from relay.farewell import FIRST_RETURN_S, LONGEST_WINDOW_S, RETURNS_PER_S, SHORTEST_WINDOW_S, return_times, window_s

COUNTS = (0, 1, 2, 50, 401, 5_000, 60_000, 250_000)


@pytest.mark.parametrize("links", COUNTS)
def test_everybody_is_told_a_time_within_the_window(links: int) -> None:
    times = return_times(links, random.Random(links).uniform)
    assert len(times) == links and times == sorted(times)
    assert all(FIRST_RETURN_S <= time <= FIRST_RETURN_S + window_s(links) for time in times)


@pytest.mark.parametrize("draw", [lambda low, high: low, lambda low, high: high, random.Random(7).uniform])
@pytest.mark.parametrize("links", [50, 5_000, 60_000])
def test_no_second_gets_more_than_the_pace_however_the_dice_fall(links: int, draw) -> None:
    seconds = itertools.groupby(return_times(links, draw), key=int)
    busiest = max(len(list(times)) for _, times in seconds)
    assert busiest <= RETURNS_PER_S + 2


def test_the_window_grows_with_their_number_and_has_bounds() -> None:
    windows = [window_s(links) for links in COUNTS]
    assert windows == sorted(windows)
    assert windows[0] == SHORTEST_WINDOW_S and windows[-1] == LONGEST_WINDOW_S
    assert window_s(5_000) == 5_000 / RETURNS_PER_S


def test_what_a_relay_may_ask_for_is_within_what_agents_obey() -> None:
    assert FIRST_RETURN_S + LONGEST_WINDOW_S <= LONGEST_RETURN_S


@pytest.mark.parametrize("asked", [86_400.0, 1e300, float("inf"), float("nan"), -1.0, 0.0])
def test_no_relay_sends_a_device_away_for_a_day(asked: float) -> None:
    waits = [Backoff().next_delay_s(random.Random(n).uniform, return_after_s=asked) for n in range(100)]
    assert min(waits) >= 1.0 and max(waits) <= 1.5 * LONGEST_RETURN_S
