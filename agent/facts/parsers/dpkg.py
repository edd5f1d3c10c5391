"""dpkg's status file: what is installed. deb822(5), dpkg-query(1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from protocol.sections.software import Package

MAX_VALUE_CHARS = 256
"""No name or version of a package is near it."""

MAX_PACKAGES = 20_000
"""Everything that Debian's desktops and tools could put on one machine; 2 MiB of JSON."""

INSTALLED = frozenset({"installed", "triggers-awaited", "triggers-pending"})
"""States of a package that is there and set up. One that was removed but for its settings is in `config-files`."""

_FIELDS = frozenset({"package", "status", "version", "architecture", "source", "installed-size"})


class Installed(msgspec.Struct, frozen=True):
    """packages: sorted by name, architecture and version.  truncated: there are more than MAX_PACKAGES."""

    packages: tuple[Package, ...] = ()
    truncated: bool = False


def parse_dpkg_status(lines: Iterable[str]) -> Installed:
    """The packages that are installed, from the file's lines one at a time: the file is never whole in memory."""
    packages: list[Package] = []
    for fields in _stanzas(lines):
        status = fields.get("status", "").split()
        if len(status) != 3 or status[2] not in INSTALLED:
            continue
        name, version = fields.get("package", ""), fields.get("version", "")
        if not name or not version:
            continue
        if len(packages) == MAX_PACKAGES:
            return Installed(_sorted(packages), truncated=True)
        size = fields.get("installed-size", "")
        packages.append(
            Package(
                name=name,
                version=version,
                architecture=fields.get("architecture", ""),
                source=fields.get("source", name).split(" ", 1)[0],  # "glibc (2.36-9)": its version where it differs
                size_kib=int(size) if size.isascii() and size.isdigit() and len(size) < 13 else 0,
            )
        )
    return Installed(_sorted(packages))


def _sorted(packages: list[Package]) -> tuple[Package, ...]:
    return tuple(sorted(packages, key=lambda package: (package.name, package.architecture, package.version)))


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
