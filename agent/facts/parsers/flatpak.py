"""What flatpak lists, as COLUMNS ask for it: tabs between them where it writes to no terminal. flatpak-list(1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.facts.parsers.installed import Installed, Pending, instant, kib_of_text, listed, pending, value
from protocol.sections.software import Package
from protocol.sections.updates import Update

COLUMNS = ("application", "branch", "installation", "name", "version", "arch", "origin", "size")
UPDATE_COLUMNS = ("application", "branch", "name", "version", "arch", "origin", "download-size")


def parse_flatpak_list(text: str, installed_at: Mapping[str, int] | None = None) -> Installed:
    """A runtime has no version of its own; then its branch is the version.

    installed_at: Unix seconds by "application/arch/branch".
    """
    dates = installed_at or {}
    return listed(_package(row, dates) for row in _rows(text, COLUMNS))


def _package(row: dict[str, str], dates: Mapping[str, int]) -> Package:
    ref = "/".join(row.get(column, "") for column in ("application", "arch", "branch"))
    return Package(
        name=row["application"],
        version=row.get("version", "") or row.get("branch", ""),
        architecture=row.get("arch", ""),
        source=row.get("origin", ""),
        size_kib=kib_of_text(row.get("size", "")),
        system="flatpak",
        installed_at=instant(dates.get(ref)),
    )


def parse_flatpak_updates(text: str) -> Pending:
    """`flatpak remote-ls --updates --cached`."""
    return pending(
        Update(
            name=row["application"],
            version=row.get("version", "") or row.get("branch", ""),
            system="flatpak",
            architecture=row.get("arch", ""),
            origin=row.get("origin", ""),
            size_kib=kib_of_text(row.get("download-size", "")),
        )
        for row in _rows(text, UPDATE_COLUMNS)
    )


def _rows(text: str, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """By column, as far as they go. An id has a dot and no space: a heading or a message is none."""
    for line in text.splitlines():
        cells = [value(cell) for cell in line.split("\t")]
        if len(cells) >= 2 and "." in cells[0] and " " not in cells[0]:
            yield dict(zip(columns, cells, strict=False))
