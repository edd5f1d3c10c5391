"""What dnf and yum would upgrade: `dnf check-upgrade`, of versions 4 and 5, and its list of advisories. dnf(8)"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Pending, pending, value
from protocol.sections.updates import Update

_ARCHITECTURE = re.compile(r"[a-z0-9_]+\Z")
_EPOCH = re.compile(r"\A\d+:")
MAX_LINE_CHARS = 1024


def parse_dnf_upgrades(text: str, security: frozenset[str] = frozenset()) -> Pending:
    """Name, architecture, version and repository a row; a name that is too long has a line of its own.

    What stands below "Obsoleting packages" is what would go for it, and is listed above already.
    security: of parse_dnf_advisories.
    """
    return pending(_upgrades(text, security))


def _upgrades(text: str, security: frozenset[str]) -> Iterator[Update]:
    wrapped: list[str] = []
    for line in text.splitlines():
        if line.strip().lower().startswith("obsoleting packages"):
            return
        cells = [*wrapped, *line[:MAX_LINE_CHARS].split()]
        wrapped = cells if len(cells) == 1 and _named(cells[0]) else []
        if len(cells) != 3 or "-" not in cells[1] or not any(character.isdigit() for character in cells[1]):
            continue
        named = _named(cells[0])
        if named is not None:
            package, architecture = named
            version = value(cells[1])
            yield Update(
                name=package,
                version=version,
                security=f"{package}-{_EPOCH.sub('', version)}" in security,
                system="rpm",
                architecture=architecture,
                origin=value(cells[2]),
            )


def _named(cell: str) -> tuple[str, str] | None:
    """ "kernel.x86_64" as name and architecture; None for what is no package."""
    name, dot, architecture = cell.rpartition(".")
    return (value(name), value(architecture)) if dot and name and _ARCHITECTURE.match(architecture) else None


def parse_dnf_advisories(text: str) -> frozenset[str]:
    """`dnf updateinfo list --security`, of versions 4 and 5: the packages as name-version-release, without epoch.

    A row is an advisory, "Important/Sec." or "security" with a severity behind it, and a package; 5 adds a date.
    """
    found: set[str] = set()
    for line in text.splitlines():
        cells = line[:MAX_LINE_CHARS].split()
        if len(cells) < 3 or not (cells[1].endswith("/Sec.") or cells[1].lower() == "security"):
            continue
        for cell in cells[2:4]:
            named = _named(cell)
            if named is not None and named[0].count("-") >= 2:
                found.add(re.sub(r"-\d+:", "-", named[0]))
                break
    return frozenset(found)
