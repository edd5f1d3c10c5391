"""What rpm lists, as QUERY asks for it. rpm(8), rpm-queryformat(7)."""

from __future__ import annotations

from collections.abc import Iterator

from agent.facts.parsers.installed import Installed, instant, kib_of_bytes, listed, value, vendor
from protocol.sections.software import Package

QUERY = "%{NAME}\\t%{ARCH}\\t%{EVR}\\t%{INSTALLTIME}\\t%{SIZE}\\t%{VENDOR}\\t%{SOURCERPM}\\n"
"""A tab can stand in no name, version or file name of rpm's. In a vendor it can; the file name is the last, then."""

KEYS = "gpg-pubkey"
"""rpm keeps the keys that it trusts as packages of this name."""


def parse_rpm_list(text: str) -> Installed:
    return listed(_packages(text))


def _packages(text: str) -> Iterator[Package | None]:
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) < 5 or fields[0] == KEYS:
            continue
        name, architecture, version, installed_at, size = (value(field) for field in fields[:5])
        yield Package(
            name=name,
            version=_none(version),
            architecture=_none(architecture),
            source=_source(fields[-1]),
            size_kib=kib_of_bytes(size),
            vendor=vendor(fields[5]) if len(fields) > 5 else "",
            system="rpm",
            installed_at=instant(installed_at),
        )


def _none(text: str) -> str:
    return "" if text == "(none)" else text.removeprefix("(none):")


def _source(field: str) -> str:
    """ "make-3.82-24.el7.src.rpm" is "make"."""
    name = value(field)
    if not name.endswith(".src.rpm"):
        return ""
    return name.removesuffix(".src.rpm").rsplit("-", 2)[0]
