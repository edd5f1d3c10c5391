"""What apt would upgrade: `apt list --upgradable`, and `apt-get -s dist-upgrade`. apt(8), apt-get(8)."""

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


_LISTED = re.compile(r"([a-z0-9][a-z0-9.+-]*)/(\S+) (\S+) ([a-z0-9-]+) \[.*: (\S+)\]\s*\Z")
"""NAME/SUITE,SUITE NEW ARCHITECTURE [upgradable from: OLD]"""


def parse_apt_list(text: str) -> Pending:
    """All that is newer, also what is held or phased. Its suites tell security: "stable-security", "noble-security"."""
    return pending(_listed(text))


def _listed(text: str) -> Iterator[Update]:
    for line in text.splitlines():
        match = _LISTED.match(line[:MAX_LINE_CHARS])
        if match is None:
            continue
        name, suites, new, architecture, old = (value(part) for part in match.groups())
        yield Update(
            name=name,
            version=new,
            installed=old,
            security=any(suite.endswith("-security") for suite in suites.split(",")),
            system="dpkg",
            architecture=architecture,
            origin=suites,
        )


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
