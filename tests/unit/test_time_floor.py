"""The earliest that it can be."""

from __future__ import annotations

from protocol.time_floor import TimeFloor

BUILD, LATER = 1_790_000_000.0, 1_795_000_000.0


def test_a_dead_clock_battery_does_not_turn_back_time() -> None:
    floor = TimeFloor(build_at=BUILD, known_at=LATER, monotonic=100.0)
    assert floor.now(wall=0.0, monotonic=160.0) == LATER + 60
    assert floor.behind_s(wall=0.0, monotonic=160.0) == LATER + 60


def test_a_right_clock_is_believed() -> None:
    floor = TimeFloor(build_at=BUILD, known_at=LATER, monotonic=0.0)
    assert floor.now(wall=LATER + 999, monotonic=1.0) == LATER + 999
    assert floor.behind_s(wall=LATER + 999, monotonic=1.0) == 0.0


def test_a_clock_that_stood_in_the_future_does_not_raise_the_floor() -> None:
    floor = TimeFloor(build_at=BUILD, known_at=0.0, monotonic=0.0)
    assert floor.now(wall=4e9, monotonic=1.0) == 4e9
    assert floor.now(wall=BUILD + 5, monotonic=2.0) == BUILD + 5
    assert floor.floor_at(2.0) == BUILD + 2


def test_accepted_documents_raise_it_and_older_ones_do_not_lower_it() -> None:
    floor = TimeFloor(build_at=BUILD, known_at=0.0, monotonic=0.0)
    floor.raise_to(LATER, 10.0)
    assert floor.floor_at(20.0) == LATER + 10
    floor.raise_to(BUILD, 20.0)
    assert floor.floor_at(30.0) == LATER + 20


def test_what_was_kept_on_disk_carries_over_a_restart() -> None:
    first = TimeFloor(build_at=BUILD, known_at=0.0, monotonic=500.0)
    first.raise_to(LATER, 600.0)
    kept = first.floor_at(700.0)
    second = TimeFloor(build_at=BUILD, known_at=kept, monotonic=3.0)
    assert second.floor_at(3.0) == LATER + 100


def test_a_higher_charter_lowers_it_but_never_below_the_build() -> None:
    floor = TimeFloor(build_at=BUILD, known_at=4e9, monotonic=0.0)
    floor.lower_by_charter(LATER, 50.0)
    assert floor.floor_at(60.0) == LATER + 10
    floor.lower_by_charter(4e9, 60.0)  # it is no way to raise it
    assert floor.floor_at(60.0) == LATER + 10
    floor.lower_by_charter(0.0, 60.0)
    assert floor.floor_at(60.0) == BUILD


def test_a_monotonic_clock_that_goes_back_lowers_nothing() -> None:
    floor = TimeFloor(build_at=BUILD, known_at=LATER, monotonic=100.0)
    assert floor.floor_at(50.0) == LATER
