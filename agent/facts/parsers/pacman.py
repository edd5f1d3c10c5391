"""pacman's local database, a file `desc` a package, and its list of what can be upgraded. pacman(8), alpm-db(7)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Pending, instant, kib_of_bytes, pending, value, vendor
from protocol.sections.software import Package
from protocol.sections.updates import Update

_HEAD = re.compile(r"%([A-Z0-9]+)%\Z")
_UPGRADE = re.compile(r"(\S+) (\S+) -> (\S+)( \[ignored\])?\Z")


def parse_pacman_desc(text: str) -> Package | None:
    """None where name or version is missing: of a damaged file, nothing is believed."""
    fields = _fields(text)
    name, version = fields.get("NAME", ""), fields.get("VERSION", "")
    if not name or not version:
        return None
    return Package(
        name=name,
        version=version,
        architecture=fields.get("ARCH", ""),
        source=fields.get("BASE", name),
        size_kib=kib_of_bytes(fields.get("SIZE", "")),
        vendor=vendor(fields.get("PACKAGER", "")),
        system="pacman",
        installed_at=instant(fields.get("INSTALLDATE", "")),
    )


def _fields(text: str) -> dict[str, str]:
    """The first line of each field."""
    fields: dict[str, str] = {}
    head = ""
    for line in text.splitlines():
        if match := _HEAD.match(line.strip()):
            head = match[1]
        elif not line.strip():
            head = ""
        elif head:
            fields.setdefault(head, value(line))
    return fields


def parse_pacman_upgrades(text: str) -> Pending:
    """`pacman -Qu`: "name old -> new". One that is ignored was meant to stay."""
    return pending(_upgrades(text))


def _upgrades(text: str) -> Iterator[Update]:
    for line in text.splitlines():
        match = _UPGRADE.match(line.strip())
        if match and not match[4]:
            name, old, new = (value(match[group]) for group in (1, 2, 3))
            yield Update(name=name, version=new, installed=old, system="pacman")
