"""The pace at which connections are taken follows how late the loop is."""

from __future__ import annotations

from relay.pace import FIRST_S, LATE_S, LONGEST_S, Pace


def test_where_the_loop_is_not_late_nobody_waits() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.on_turn(LATE_S)
        assert pace.wait_s == 0.0


def test_it_slows_down_while_the_loop_is_late_to_a_bound_and_comes_back() -> None:
    pace = Pace()
    waits = []
    for _ in range(30):
        pace.on_turn(2 * LATE_S)
        waits.append(pace.wait_s)
    assert waits == sorted(waits) and waits[0] == FIRST_S and waits[-1] == LONGEST_S
    for _ in range(60):
        pace.on_turn(0.0)
    assert pace.wait_s == 0.0


def test_one_turn_that_is_late_costs_milliseconds() -> None:
    pace = Pace()
    total = 0.0
    pace.on_turn(60.0)
    while pace.wait_s:
        total += pace.wait_s
        pace.on_turn(0.0)
    assert total < 0.02
