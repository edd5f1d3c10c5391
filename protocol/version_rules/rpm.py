"""Versions as rpm orders them.

Source: rpm-version(7); rpm, rpmio/rpmvercmp.c and rpmver.c (tilde since 4.10, caret since 4.15). A version is
epoch:version-release; none is the oldest release.
"""

from __future__ import annotations

import re

_EPOCH = re.compile(r"([0-9]*):")
_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")
_END = ""


def compare(left: str, right: str) -> int:
    """-1, 0 or 1. Never raises."""
    one, other = split(left), split(right)
    difference = _compare_one(one[0], other[0]) or _compare_one(one[1], other[1])
    if difference or one[2] == other[2]:
        return difference
    if one[2] is None or other[2] is None:
        return -1 if one[2] is None else 1
    return _compare_one(one[2], other[2])


def compare_digits(left: str, right: str) -> int:
    """Digits as numbers, without converting them: Python refuses more than 4,300."""
    left, right = left.lstrip("0"), right.lstrip("0")
    key_left, key_right = (len(left), left), (len(right), right)
    return (key_left > key_right) - (key_left < key_right)


def split(version: str) -> tuple[str, str, str | None]:
    """Epoch ("0" where none is named), version, release (None where there is none)."""
    epoch = "0"
    if match := _EPOCH.match(version):
        epoch, version = match[1] or "0", version[match.end() :]
    before, hyphen, after = version.rpartition("-")
    return (epoch, before, after) if hyphen else (epoch, version, None)


def _compare_one(left: str, right: str) -> int:
    """Digits, letters, tildes and carets in turn; whatever stands between them only parts them."""
    lefts, rights = _SEGMENT.findall(left), _SEGMENT.findall(right)
    for position in range(max(len(lefts), len(rights))):
        one = lefts[position] if position < len(lefts) else _END
        other = rights[position] if position < len(rights) else _END
        if one != other and (difference := _compare_segments(one, other)):
            return difference
    return 0


def _compare_segments(left: str, right: str) -> int:
    """A tilde is older than the end, a caret newer than the end and older than all else; letters older than digits."""
    if "~" in (left, right):
        return -1 if left == "~" else 1
    if _END in (left, right):
        return -1 if left == _END else 1
    if "^" in (left, right):
        return -1 if left == "^" else 1
    if left.isdigit() and right.isdigit():
        return compare_digits(left, right)
    if left.isdigit() or right.isdigit():
        return 1 if left.isdigit() else -1
    return -1 if left < right else 1
