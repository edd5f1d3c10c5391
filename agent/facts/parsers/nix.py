"""Paths of Nix's store: /nix/store/HASH-NAME-VERSION. Nix manual, "Store path"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.installed import Installed, listed, value
from protocol.sections.software import Package

_PATH = re.compile(r"/nix/store/[0-9a-z]{32}-(.+)\Z")
_VERSIONED = re.compile(r"(.+?)-([0-9][A-Za-z0-9._+~]*)(?:-(bin|dev|doc|info|lib|man|out))?\Z")
"""Nix's own rule (parseDrvName): the version begins at the first hyphen that a digit follows."""


def parse_nix_paths(text: str) -> Installed:
    """Each line a path that was built. Recipes (.drv) and what has no version (settings, hooks) are no software."""
    return listed(_packages(text))


def _packages(text: str) -> Iterator[Package]:
    for line in text.splitlines():
        match = _PATH.match(line.strip())
        if match is None or match[1].endswith(".drv"):
            continue
        if named := _VERSIONED.match(match[1][:512]):
            yield Package(name=value(named[1]), version=value(named[2]), system="nix")
