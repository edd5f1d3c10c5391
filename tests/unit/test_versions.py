"""Versions sort as deb-version(7) says."""

from __future__ import annotations

import itertools

import pytest

from protocol.versions import compare

ASCENDING = [
    "~~",
    "~~a",
    "~",
    "",
    "0.9~rc1",
    "0.9",
    "0.9-0.1",
    "0.9-1~bpo12+1",
    "0.9-1",
    "0.9-1+deb12u1",
    "0.10",
    "1.0a",
    "1.0+dfsg",
    "1.2.3",
    "1.10",
    "115.3.0esr-1",
    "a",
    "a1",
    "1:0.1",
    "2:0",
]


def test_the_examples_are_in_order() -> None:
    for (i, left), (j, right) in itertools.product(enumerate(ASCENDING), repeat=2):
        assert compare(left, right) == (i > j) - (i < j), (left, right)


@pytest.mark.parametrize(
    ("left", "right"), [("1.0", "1.00"), ("0:1", "1"), ("1-0", "1"), ("1.", "1.0"), (" 1 ", "1"), ("007", "7")]
)
def test_different_spellings_of_one_version_are_equal(left: str, right: str) -> None:
    assert compare(left, right) == 0 == compare(right, left)


def test_absurd_numbers_are_compared_without_being_converted() -> None:
    assert compare("9" * 10_000, "1") == 1
    assert compare("1." + "0" * 200 + "2", "1.3") == -1


def test_text_of_other_systems_is_compared_as_a_whole() -> None:
    assert compare("x:1", "x:2") == -1
    assert compare("10.0.19045 (22H2)", "10.0.22631 (23H2)") == -1
    assert compare("\u0661:2", "1") != 0
