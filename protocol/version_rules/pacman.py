"""Versions as pacman orders them: rpm's rules of 2008, in which the length of what parts two segments counts, and
letters at the end are older than the end, so that 1.0rc1 is older than 1.0.

Source: vercmp(8); pacman, lib/libalpm/version.c.
"""

from __future__ import annotations

import re

from protocol.version_rules.rpm import compare_digits, split

_GAP = re.compile(r"[^0-9A-Za-z]*")
_DIGITS = re.compile(r"[0-9]+")
_LETTERS = re.compile(r"[A-Za-z]+")


def compare(left: str, right: str) -> int:
    """-1, 0 or 1. Never raises."""
    one, other = split(left), split(right)
    difference = _compare_one(one[0], other[0]) or _compare_one(one[1], other[1])
    if difference or one[2] is None or other[2] is None:
        return difference  # a release counts only where both have one
    return _compare_one(one[2], other[2])


def _compare_one(left: str, right: str) -> int:
    if left == right:
        return 0
    while left and right:
        gap, other_gap = _GAP.match(left), _GAP.match(right)
        assert gap is not None and other_gap is not None  # the pattern matches nothing, too
        left, right = left[gap.end() :], right[other_gap.end() :]
        if not (left and right):
            break
        if gap.end() != other_gap.end():
            return -1 if gap.end() < other_gap.end() else 1
        kind = _DIGITS if _DIGITS.match(left) else _LETTERS
        one, other = kind.match(left), kind.match(right)
        if one is None or other is None:
            return 1 if kind is _DIGITS else -1
        if difference := _compare_segments(one[0], other[0], digits=kind is _DIGITS):
            return difference
        left, right = left[one.end() :], right[other.end() :]
    return _compare_rest(left, right)


def _compare_segments(left: str, right: str, *, digits: bool) -> int:
    return compare_digits(left, right) if digits else (left > right) - (left < right)


def _compare_rest(left: str, right: str) -> int:
    """Of two versions that were equal so far, one of them or both at their end."""
    if not left and not right:
        return 0
    if (not left and not _LETTERS.match(right)) or _LETTERS.match(left):
        return -1
    return 1
