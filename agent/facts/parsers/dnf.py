"""What dnf and yum would upgrade: `dnf check-upgrade`, of versions 4 and 5, and its list of advisories. dnf(8)"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Pending, pending, value
from protocol.sections.updates import Update

_ROW = re.compile(r"(\S+)\.([a-z0-9_]+)\s+(\S*\d\S*-\S+)\s+(\S+)\s*\Z")
_WRAPPED = re.compile(r"(\S+\.[a-z0-9_]+)\s*\Z")
_ADVISORY = re.compile(r"\S+\s+(\S+?/Sec\.|security|Security)\s+(?:\S+\s+)?(\S+)\.([a-z0-9_]+)(?:\s.*)?\Z")


def parse_dnf_upgrades(text: str, security: frozenset[str] = frozenset()) -> Pending:
    """Name, architecture, version and repository a row; a name that is too long has a line of its own.

    What stands below "Obsoleting packages" is what would go for it, and is listed above already.
    security: of parse_dnf_advisories.
    """
    return pending(_upgrades(text, security))


def _upgrades(text: str, security: frozenset[str]) -> Iterator[Update]:
    name = ""
    for line in text.splitlines():
        if line.strip().lower().startswith("obsoleting packages"):
            return
        match = _ROW.match((f"{name} " if name else "") + line[:1024].strip())
        name = ""
        if match is None:
            wrapped = _WRAPPED.match(line[:1024])
            name = wrapped[1] if wrapped else ""
            continue
        package, architecture, version, repository = (value(part) for part in match.groups())
        yield Update(
            name=package,
            version=version,
            security=f"{package}-{_without_epoch(version)}" in security,
            system="rpm",
            architecture=architecture,
            origin=repository,
        )


def parse_dnf_advisories(text: str) -> frozenset[str]:
    """`dnf updateinfo list --security`, of versions 4 and 5: the packages as name-version-release, without epoch."""
    found: set[str] = set()
    for line in text.splitlines():
        match = _ADVISORY.match(line[:1024].strip())
        if match and "-" in match[2]:
            found.add(re.sub(r"-\d+:", "-", value(match[2])))
    return frozenset(found)


def _without_epoch(version: str) -> str:
    return re.sub(r"\A\d+:", "", version)
