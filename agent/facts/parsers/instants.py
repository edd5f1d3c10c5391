"""When something was installed, as systems write it, to Unix seconds. None for what is no date, or no plausible one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

from agent.facts.parsers.installed import instant

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?)?\s*(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_DAY = re.compile(r"(\d{4})(\d\d)(\d\d)\Z", re.ASCII)
_US_DAY = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})\b", re.ASCII)


def iso_instant(text: str) -> int | None:
    """ "2019-11-06T15:24:43+01:00", "2022-02-21 22:51:49 +0000", "2024-05-01"; UTC where no zone is named."""
    match = _ISO.match(text.strip())
    if match is None:
        return None
    numbers = [int(part or 0) for part in match.groups()[:6]]
    zone = match[7] or "Z"
    offset = timedelta(0)
    if zone != "Z":
        sign = -1 if zone[0] == "-" else 1
        offset = sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return _seconds(numbers, offset)


def day_instant(text: str) -> int | None:
    """ "20210724", as Windows' installers write it: noon of that day in UTC, so that it is that day nearly anywhere."""
    match = _DAY.match(text.strip())
    if match is None:
        return None
    return _seconds([int(match[1]), int(match[2]), int(match[3]), 12, 0, 0], timedelta(0))


def us_day_instant(text: str) -> int | None:
    """ "8/24/2023", as wmic writes a fix's day whatever the language is; None where it can only be another order."""
    match = _US_DAY.match(text.strip())
    return _seconds([int(match[3]), int(match[1]), int(match[2]), 12, 0, 0], timedelta(0)) if match else None


def moment(at: object) -> int | None:
    """A datetime without a zone, in UTC, as property lists hold it."""
    if not isinstance(at, datetime):
        return None
    try:
        return instant(int(at.replace(tzinfo=at.tzinfo or UTC).timestamp()))
    except (ValueError, OverflowError):
        return None


def _seconds(numbers: list[int], offset: timedelta) -> int | None:
    """numbers: year, month, day, hour, minute, second."""
    year, month, day, hour, minute, second = numbers
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset))
        return instant(int(at.timestamp()))
    except (ValueError, OverflowError):
        return None
