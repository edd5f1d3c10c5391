"""The section on what is installed."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count, Section


class Package(Record, frozen=True, kw_only=True, array_like=True):
    """One installed package: name, version as its own packaging system writes it, architecture, source, size in KiB."""

    name: str
    version: str
    architecture: str = ""
    source: str = ""
    size_kib: Count = 0


class Software(Section, frozen=True, kw_only=True):
    """systems: the packaging systems that were asked, "dpkg".  packages: sorted by name and architecture."""

    systems: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()
