"""Versions of systems without rules of their own: Windows, macOS, flatpak, snap, and what nothing manages.

Numbers count as numbers and whatever stands between them only parts them, so 10.0.19045 is newer than 10.0.9200, and
1.2 equals 1.2.0. A word that announces a release is older than the release; any other is a patch letter, and newer.
"""

from __future__ import annotations

import re

ANNOUNCES = ("dev", "nightly", "alpha", "a", "beta", "b", "preview", "pre", "rc")
"""From old to new. A single a or b is one only before a number (1.0b2); alone, it is a patch letter (1.0.2b)."""

_TOKEN = re.compile(r"[0-9]+|[^\W\d_]+")

_Key = tuple[int, int, str]
_END: _Key = (0, 0, "")
"""A zero, or nothing more."""


def compare(left: str, right: str) -> int:
    """-1, 0 or 1. Never raises."""
    lefts, rights = _keys(left), _keys(right)
    length = max(len(lefts), len(rights))
    lefts += [_END] * (length - len(lefts))
    rights += [_END] * (length - len(rights))
    return (lefts > rights) - (lefts < rights)


def _keys(version: str) -> list[_Key]:
    tokens = _TOKEN.findall(version.lower())
    if len(tokens) > 1 and tokens[0] in ("v", "version", "r", "release"):
        del tokens[0]
    return [_key(token, followed=_is_number(tokens[at + 1 : at + 2])) for at, token in enumerate(tokens)]


def _is_number(tokens: list[str]) -> bool:
    return bool(tokens) and tokens[0].isascii() and tokens[0].isdigit()


def _key(token: str, *, followed: bool) -> _Key:
    if token.isascii() and token.isdigit():
        digits = token.lstrip("0")
        return (2, len(digits), digits) if digits else _END
    if token in ANNOUNCES and (followed or len(token) > 1):
        return (-1, ANNOUNCES.index(token), "")
    return (1, 0, token)
