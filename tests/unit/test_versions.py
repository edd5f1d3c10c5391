"""Versions sort as deb-version(7) says."""

from __future__ import annotations

import itertools
from functools import cmp_to_key

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


BY_SYSTEM = {
    "rpm": ["1.0~rc1-1", "1.0-1", "1.0-1.fc40", "1.0^20240101-1", "1.0.a-1", "1.0.1-1", "1.0.10-1", "1:0.1-1"],
    "pacman": ["1.0a-1", "1.0rc1-1", "1.0-1", "1.0-1.1", "1.0-2", "1.0.1-1", "1.0.10-1", "1:0.1-1"],
    "apk": [
        "0.9.9",
        "1.0_alpha",
        "1.0_alpha2",
        "1.0_beta1",
        "1.0_rc1-r3",
        "1.0",
        "1.0-r0",
        "1.0-r10",
        "1.0_git20240101",
        "1.0_p1-r0",
        "1.0a",
        "1.0b",
        "1.06",
        "1.1",
        "1.10",
        "20050718-r1",
    ],
    "windows": [
        "1.0 beta 2",
        "1.0.0-rc.1",
        "1.0",
        "1.0.0.1",
        "1.0.2",
        "1.0.2a",
        "1.0.2k",
        "1.0.10",
        "10.0.9200",
        "10.0.19045",
    ],
}


@pytest.mark.parametrize("system", BY_SYSTEM)
def test_each_system_s_versions_are_in_its_own_order(system: str) -> None:
    for (i, left), (j, right) in itertools.product(enumerate(BY_SYSTEM[system]), repeat=2):
        assert compare(left, right, system) == (i > j) - (i < j), (left, right)


@pytest.mark.parametrize(
    ("system", "left", "right"),
    [
        ("rpm", "1.0.", "1.0"),
        ("rpm", "1.05", "1.5"),
        ("pacman", "0:1.0-1", "1.0-1"),
        ("pacman", "1.0", "1.0-3"),
        ("apk", "1.2.0", "1.2.0"),
        ("flatpak", "1.2", "1.2.0"),
        ("macos", "v4.0", "4.0"),
        ("windows", "007.1", "7.01"),
    ],
)
def test_two_spellings_of_one_version_are_equal_by_their_system(system: str, left: str, right: str) -> None:
    assert compare(left, right, system) == 0 == compare(right, left, system)


TEXTS = st.one_of(st.text(max_size=30), st.text("019.-~^:+_abrcp", max_size=20))
SYSTEMS = st.sampled_from(["dpkg", "rpm", "pacman", "apk", "windows", "of tomorrow"])


@given(SYSTEMS, TEXTS, TEXTS)
def test_any_two_texts_compare_one_way_and_the_other_way_round(system: str, left: str, right: str) -> None:
    assert compare(left, right, system) == -compare(right, left, system)
    assert compare(left, left, system) == 0


@given(st.sampled_from(["dpkg", "rpm", "apk", "windows"]), TEXTS, TEXTS, TEXTS)
def test_the_order_is_one_that_lists_can_be_sorted_by(system: str, a: str, b: str, c: str) -> None:
    """Not pacman's: its own is no order where the lengths of gaps differ."""
    low, middle, high = sorted((a, b, c), key=cmp_to_key(lambda x, y: compare(x, y, system)))
    assert compare(low, high, system) <= 0 and compare(low, middle, system) <= 0


def test_absurd_numbers_are_compared_without_being_converted_by_every_system() -> None:
    for system in ("rpm", "pacman", "apk", "windows"):
        assert compare("9" * 10_000, "1", system) == 1
