"""What differs between two lists of software: of two devices, or of one at two dates."""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.sections.software import Software
from protocol.versions import compare

Change = Literal["only left", "only right", "newer right", "older right", "other"]
"""other: several versions on a side, or versions that are written differently and are none the newer."""


class Difference(msgspec.Struct, frozen=True):
    """A package, by name, packaging system and architecture. left, right: its versions, ascending; none where it is
    not installed."""

    name: str
    system: str
    architecture: str
    left: tuple[str, ...]
    right: tuple[str, ...]
    change: Change


_Key = tuple[str, str, str]


def differences(left: Software, right: Software) -> list[Difference]:
    """By name, whatever the case, then system and architecture. What is the same on both sides is not in it."""
    lefts, rights = _versions(left), _versions(right)
    keys = [key for key in lefts.keys() | rights.keys() if lefts.get(key, ()) != rights.get(key, ())]
    return [
        Difference(*key, lefts.get(key, ()), rights.get(key, ()), _change(key, lefts.get(key, ()), rights.get(key, ())))
        for key in sorted(keys, key=lambda key: (key[0].lower(), key))
    ]


def _versions(software: Software) -> dict[_Key, tuple[str, ...]]:
    found: dict[_Key, set[str]] = {}
    for package in software.packages:
        found.setdefault((package.name, package.system, package.architecture), set()).add(package.version)
    return {key: tuple(sorted(versions)) for key, versions in found.items()}


def _change(key: _Key, left: tuple[str, ...], right: tuple[str, ...]) -> Change:
    if not left or not right:
        return "only right" if not left else "only left"
    order = compare(left[0], right[0], key[1]) if len(left) == len(right) == 1 and all((*left, *right)) else 0
    return "newer right" if order < 0 else "older right" if order > 0 else "other"
