"""When files that are replaced one after the other have come to rest."""

from __future__ import annotations

from relay.certificate_files import Mark, Settled


def mark(certificate: int, key: int | None) -> Mark:
    return ((1, 1, certificate, 1), None if key is None else (1, 2, key, 1))


def test_what_does_not_change_is_not_read_again() -> None:
    settled = Settled(mark(1, 1))
    assert [settled.look(mark(1, 1)) for _ in range(3)] == [False] * 3


def test_a_change_is_taken_once_when_two_looks_saw_it() -> None:
    settled = Settled(mark(1, 1))
    assert [settled.look(mark(2, 2)) for _ in range(4)] == [False, True, False, False]


def test_files_that_still_change_are_waited_for() -> None:
    settled = Settled(mark(1, 1))
    looks = [mark(2, 1), mark(2, None), mark(2, 2), mark(3, 2), mark(3, 2)]
    assert [settled.look(each) for each in looks] == [False, False, False, False, True]


def test_the_way_back_is_a_change_too() -> None:
    settled = Settled(mark(1, 1))
    assert [settled.look(mark(n, 1)) for n in (2, 2, 1, 1)] == [False, True, False, True]


def test_a_flutter_that_ends_where_it_began_is_none() -> None:
    settled = Settled(mark(1, 1))
    assert [settled.look(each) for each in (mark(1, None), mark(1, 1), mark(1, 1))] == [False] * 3
