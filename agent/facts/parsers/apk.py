"""apk's database of what is installed, and its list of what can be upgraded. apk-package(5), apk-version(8)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from agent.facts.parsers.installed import Installed, Pending, kib_of_bytes, listed, pending, value, vendor
from protocol.sections.software import Package
from protocol.sections.updates import Update

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*\Z")
_NAME_AND_VERSION = re.compile(r"(.+)-([0-9][^-]*(?:-r[0-9]+)?)\Z")


def parse_apk_installed(lines: Iterable[str]) -> Installed:
    """A letter, a colon and a value a line; an empty line ends a package. What it owns (F:, R:, Z:) is skipped."""
    return listed(_packages(lines))


def _packages(lines: Iterable[str]) -> Iterator[Package | None]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            yield _package(fields)
            fields = {}
        elif line[1:2] == ":" and line[0] in "PVAIom":
            fields.setdefault(line[0], value(line[2:]))
    yield _package(fields)


def _package(fields: dict[str, str]) -> Package | None:
    name, version = fields.get("P", ""), fields.get("V", "")
    if not _NAME.match(name) or not version:
        return None
    return Package(
        name=name,
        version=version,
        architecture=fields.get("A", ""),
        source=fields.get("o", name),
        size_kib=kib_of_bytes(fields.get("I", "")),
        vendor=vendor(fields.get("m", "")),
        system="apk",
    )


def parse_apk_upgrades(text: str) -> Pending:
    """`apk version -l '<'`: "busybox-1.36.1-r2  < 1.36.1-r5"."""
    return pending(_upgrades(text))


def _upgrades(text: str) -> Iterator[Update]:
    for line in text.splitlines():
        name, _, rest = line[:1024].strip().partition(" ")
        order, _, new = rest.strip().partition(" ")
        match = _NAME_AND_VERSION.match(name)
        if match and order == "<" and _NAME.match(match[1]):
            yield Update(name=value(match[1]), version=value(new), installed=value(match[2]), system="apk")
