"""winget's tables: `winget list`, and `winget upgrade` for what is newer. winget(1)

A heading names the columns and a line of hyphens underlines them; what is too long is cut with an ellipsis, which a
wrong code page turns into three question marks and so moves the columns behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Installed, Pending, listed, pending, value
from protocol.sections.software import Package
from protocol.sections.updates import Update

_COLUMN = re.compile(r"\S+(?: \S+)*")
_UNKNOWN = frozenset({"", "unknown", "desconocido"})


def parse_winget_list(text: str) -> Installed:
    return listed(
        Package(name=name, version=version, source=source, system="windows")
        for name, version, _available, source in _rows(text)
    )


def parse_winget_upgrades(text: str) -> Pending:
    """Of either table: the rows that have an available version."""
    return pending(
        Update(name=name, version=available, installed=version, system="windows", origin=source)
        for name, version, available, source in _rows(text)
        if available
    )


def _rows(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Name, version, available version, source."""
    starts: list[int] = []
    before = ""
    for line in text.split("\n"):
        line = line.rsplit("\r", 1)[-1].replace("???", "…").rstrip()
        if len(line) > 20 and not line.strip("-"):
            starts = [match.start() for match in _COLUMN.finditer(before)]
        elif not line:
            starts = []  # what follows a table is a sentence
        elif 4 <= len(starts) <= 5 and len(line) > starts[2]:
            cells = [value(line[a:b]) for a, b in zip(starts, [*starts[1:], None], strict=True)]
            # A version may lie on one side of what is known: "< 1.2". The column of what is available may be missing.
            name, version = cells[0].rstrip("…").strip(), _version(cells[2])
            if name:
                yield name, version, _version(cells[3]) if len(cells) == 5 else "", cells[-1]
        before = line


def _version(cell: str) -> str:
    cell = cell.lstrip("<> ").rstrip("…").strip()
    return "" if cell.lower() in _UNKNOWN else cell
