"""dpkg's status file: what is installed. deb822(5), dpkg-query(1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from agent.facts.parsers.installed import (
    MAX_SIZE_KIB,
    MAX_VALUE_CHARS,
    Installed,
    count,
    instant,
    listed,
    vendor,
)
from protocol.sections.software import Package
from protocol.sections.updates import Broken

__all__ = ["MAX_VALUE_CHARS", "Installed", "parse_dpkg_status"]

INSTALLED = frozenset({"installed", "triggers-awaited", "triggers-pending"})
"""States of a package that is there and set up. One that was removed but for its settings is in `config-files`."""

BROKEN = frozenset({"half-installed", "unpacked", "half-configured"})
"""States in which dpkg leaves a package when it was interrupted or a script of the package failed."""

_FIELDS = frozenset(
    {"package", "status", "version", "architecture", "source", "installed-size", "maintainer", "multi-arch"}
)


def parse_dpkg_status(lines: Iterable[str], installed_at: Mapping[str, int] | None = None) -> Installed:
    """The packages that are installed, from the file's lines one at a time: the file is never whole in memory.

    installed_at: Unix seconds by name, or name:architecture where several can be installed together.
    """
    dates = installed_at or {}
    broken: list[Broken] = []
    held: list[str] = []
    return listed(_packages(_stanzas(lines), dates, broken, held), broken, held)  # filled by the time they are read


def _packages(
    stanzas: Iterator[dict[str, str]], dates: Mapping[str, int], broken: list[Broken], held: list[str]
) -> Iterator[Package]:
    for fields in stanzas:
        status = fields.get("status", "").split()
        name, version = fields.get("package", ""), fields.get("version", "")
        if len(status) != 3 or not name:
            continue
        if status[2] in BROKEN or (status[1] == "reinstreq" and status[2] != "not-installed"):
            broken.append(Broken(name=name, state=status[2]))
        if status[0] == "hold":
            held.append(name)
        if status[2] not in INSTALLED or not version:
            continue
        architecture = fields.get("architecture", "")
        qualified = f"{name}:{architecture}" if fields.get("multi-arch") == "same" else name
        yield Package(
            name=name,
            version=version,
            architecture=architecture,
            source=fields.get("source", name).split(" ", 1)[0],  # "glibc (2.36-9)": its version where it differs
            size_kib=count(fields.get("installed-size", ""), MAX_SIZE_KIB),
            vendor=vendor(fields.get("maintainer", "")),
            installed_at=instant(dates.get(qualified, dates.get(name))),
        )


def _stanzas(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The fields that are needed, each stanza's; folded lines and comments are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line[:1] in " \t\r\n#":
            if fields and not line.strip():
                yield fields
                fields = {}
            continue
        name, colon, value = line.partition(":")
        if colon and (name := name.lower()) in _FIELDS:
            fields.setdefault(name, value.strip()[:MAX_VALUE_CHARS])
    if fields:
        yield fields
