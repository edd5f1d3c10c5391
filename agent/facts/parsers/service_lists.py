"""Services that should run and do not: systemd's by `systemctl`, Windows' by `sc queryex`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from agent.facts.parsers.json_values import items_at, read_json, text_at
from protocol.sections.services import FailedService

MAX_SERVICES = 128
MAX_UNIT_CHARS = 256
"""systemd.unit(5) allows no longer name."""

MAX_RESTARTS = 2**31 - 1
UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,245}\.[a-z]{2,10}\Z")
WAITS = "auto-restart"
NEVER_STARTED = 1077
"""ERROR_SERVICE_NEVER_STARTED: Windows' word for a service that nobody has wanted since the start."""

OWN_CODE = 1066
"""ERROR_SERVICE_SPECIFIC_ERROR: the code is the service's own."""

SERVICE_STATES = frozenset(
    {"initializing", "starting", "running", "degraded", "maintenance", "stopping", "offline", "unknown"}
)


class Unit(msgspec.Struct, frozen=True):
    """waits: it ended, and is about to be started again."""

    name: str
    title: str = ""
    waits: bool = False


def parse_units(data: bytes) -> tuple[Unit, ...] | None:
    """`systemctl list-units --output=json`; None where it is no JSON (systemd before 246: `parse_plain_units`)."""
    entries = read_json(data)
    if not isinstance(entries, list):
        return None
    units = (
        Unit(
            text_at(entry, "unit", limit=MAX_UNIT_CHARS), text_at(entry, "description"), text_at(entry, "sub") == WAITS
        )
        for entry in items_at({"units": entries}, "units")
    )
    return tuple(unit for unit in units if UNIT_NAME.match(unit.name))[:MAX_SERVICES]


def parse_plain_units(text: str) -> tuple[Unit, ...]:
    """`systemctl list-units --plain --no-legend`: unit, load, active, sub, description."""
    found = []
    for line in text.splitlines():
        words = line.lstrip("\u25cf* ").split(None, 4)
        if len(words) >= 4 and UNIT_NAME.match(words[0]):
            found.append(Unit(words[0], words[4][:200] if len(words) == 5 else "", words[3] == WAITS))
    return tuple(found[:MAX_SERVICES])


def parse_show(text: str) -> dict[str, dict[str, str]]:
    """`systemctl show -p ... UNIT...`: the properties of each unit by its Id, an empty line between units."""
    found: dict[str, dict[str, str]] = {}
    values: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key, value[:MAX_UNIT_CHARS])
        elif not line.strip() and values:
            if name := values.get("Id"):
                found.setdefault(name, values)
            values = {}
    return found


def failed_service(unit: Unit, properties: dict[str, str]) -> FailedService:
    """properties: of `parse_show`. Times are `--timestamp=unix`: "@1700000000"."""
    result, since = properties.get("Result", ""), properties.get("StateChangeTimestamp", "")
    at = re.fullmatch(r"@([0-9]{1,12})", since)
    return FailedService(
        name=unit.name,
        title=" ".join((unit.title or properties.get("Description", "")).split())[:200],
        result=result[:40] if re.fullmatch(r"[a-z0-9-]+", result) and result != "success" else "",
        status=_number(properties.get("ExecMainStatus", "")),
        since_at=int(at[1]) if at else None,
        restarts=_number(properties.get("NRestarts", "")),
    )


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) and int(text) <= MAX_RESTARTS else None


def parse_sc_query(text: str) -> tuple[FailedService, ...]:
    """`sc queryex state= inactive`: the services that ended with an error.

    Its words are in Windows' language, so the lines count: a name and a title at the margin, then numbers; the state is
    the second, the exit code the third, the service's own the fourth. learn.microsoft.com, "sc query".
    """
    found: list[FailedService] = []
    for name, title, numbers in _sc_services(text):
        if len(numbers) < 4 or numbers[2] in (0, NEVER_STARTED):
            continue
        own = numbers[3] if numbers[2] == OWN_CODE else None
        found.append(FailedService(name=name, title=title, result="exit-code", status=own or numbers[2]))
    return tuple(found[:MAX_SERVICES])


def _sc_services(text: str) -> Iterator[tuple[str, str, list[int]]]:
    name, title, numbers = "", "", list[int]()
    for line in [*text.splitlines(), ""]:
        _, colon, value = line.partition(":")
        if not line.strip():
            if name:
                yield name, title, numbers
            name, title, numbers = "", "", []
        elif not line[0].isspace() and colon:
            name, title = (name, value.strip()[:200]) if name else (value.strip()[:MAX_UNIT_CHARS], "")
        elif colon and (number := re.match(r"\s*(0x[0-9A-Fa-f]{1,8}|[0-9]{1,10})\b", value)) and name:
            numbers.append(int(number[1], 16 if number[1].startswith("0x") else 10))
