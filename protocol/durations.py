"""Durations as people write them: 7d, 12h, 90m, 45s, 2w. Pure."""

from __future__ import annotations

import re

from protocol.errors import UsageInvalid
from protocol.text import escape

UNITS_S = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}

_DURATION = re.compile(r"([0-9]{1,9})([wdhms])\Z")


def parse_duration(text: str) -> int:
    """Seconds. Raises UsageInvalid."""
    found = _DURATION.match(text.strip().lower())
    if found is None or int(found[1]) == 0:
        raise UsageInvalid(f"not a duration: {escape(text, limit=40)!r}", hint="For example 7d, 12h, 90m or 45s.")
    return int(found[1]) * UNITS_S[found[2]]


def duration_text(seconds: int) -> str:
    """In the largest unit that divides it."""
    for unit, unit_s in UNITS_S.items():
        if unit != "w" and seconds and seconds % unit_s == 0:
            return f"{seconds // unit_s}{unit}"
    return f"{seconds}s"
