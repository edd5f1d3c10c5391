"""What apt would upgrade, as `apt-get -s dist-upgrade` says it. apt-get(8)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Pending, pending, value
from protocol.sections.updates import Update

_INST = re.compile(r"Inst (\S+) \[([^\]\s]+)\] \((\S+) (.*?)\s*\[([a-z0-9-]+)\]\)")
"""Inst NAME [OLD] (NEW ORIGIN:VERSION/ARCHIVE, ... [ARCHITECTURE]); without OLD it is new here, and no update."""

MAX_LINE_CHARS = 1024

_SECURITY = re.compile(r"\bDebian-Security:|\b[\w-]+:\S*?-security\b", re.I)
"""The archives of Debian ("Debian-Security:12/stable-security"), Ubuntu ("Ubuntu:24.04/noble-security") and others."""


def parse_apt_upgrades(text: str) -> Pending:
    """No more than what apt says: phased and held upgrades are not in it."""
    return pending(_upgrades(text))


def _upgrades(text: str) -> Iterator[Update]:
    for line in text.splitlines():
        match = _INST.match(line[:MAX_LINE_CHARS])
        if match is None:
            continue
        name, old, new, origins, architecture = match.groups()
        yield Update(
            name=value(name.split(":", 1)[0]),  # "libc6:i386" where it is not the machine's own architecture
            version=value(new),
            installed=value(old),
            security=bool(_SECURITY.search(origins)),
            system="dpkg",
            architecture=value(architecture),
            origin=value(origins),
        )
