"""What zypper would upgrade: its tables `zypper list-updates` and, for security fixes, `list-patches`. zypper(8)"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Pending, pending, value
from protocol.sections.updates import Update

_RULE = re.compile(r"[-+ |─┼]{8,}\Z")


def parse_zypper_updates(text: str) -> Pending:
    """Columns by their heading, which LC_ALL=C makes English: Repository, Name, Current Version, Available Version."""
    return pending(_update(row) for row in _rows(text))


def _update(row: dict[str, str]) -> Update | None:
    name, version = row.get("name", ""), row.get("available version", "")
    if not name or not version:
        return None
    return Update(
        name=name,
        version=version,
        installed=row.get("current version", ""),
        system="rpm",
        architecture=row.get("arch", ""),
        origin=row.get("repository", ""),
    )


def parse_zypper_patches(text: str) -> Pending:
    """Patches that are needed. Each is an update of its own; a security patch is named by its advisory."""
    return pending(_patch(row) for row in _rows(text))


def _patch(row: dict[str, str]) -> Update | None:
    name = row.get("name", "")
    if not name or row.get("status", "needed").lower() not in ("needed", ""):
        return None
    return Update(
        name=name,
        version=row.get("version", "") or "1",
        security=row.get("category", "").lower() == "security",
        system="rpm",
        origin=row.get("repository", ""),
        restart="reboot" in row.get("interactive", "").lower(),
    )


def _rows(text: str) -> Iterator[dict[str, str]]:
    heading: list[str] = []
    before = ""
    for line in text.splitlines():
        line = line[:2048].replace("│", "|")
        if len(line) > 8 and _RULE.match(line) and "-" in line.replace("─", "-"):
            heading = [cell.strip().lower() for cell in before.split("|")]
        elif heading and line.count("|") == len(heading) - 1:
            yield dict(zip(heading, (value(cell) for cell in line.split("|")), strict=True))
        before = line
