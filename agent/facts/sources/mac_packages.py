"""The sources on software of macOS. None of this has run on macOS yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.facts.parsers.installed import Installed, listed
from agent.facts.sources import apps
from agent.facts.sources.command import run_tool
from agent.facts.sources.files import read_bytes
from agent.facts.sources.places import below, homes
from protocol.sections.software import MAX_PACKAGES, Package

DEADLINE_S = 28.0
"""system_profiler looks at every application on the disk; it takes six seconds on a machine of 2019."""

RECEIPTS = "private/var/db/receipts"


def _application_paths() -> list[Path]:
    shared = [below("Applications"), below("Applications/Utilities"), below("System/Applications")]
    return [*shared, *(home / "Applications" for home in homes())]


def _applications() -> Installed:
    from agent.facts.parsers.macos_software import parse_applications

    asked = ["system_profiler", "-xml", "SPApplicationsDataType"]
    return parse_applications(run_tool(asked, deadline_s=DEADLINE_S - 2))


def _receipts() -> Installed:
    from agent.facts.parsers.macos_software import parse_receipt

    found: list[Package | None] = []
    for _, path in zip(range(MAX_PACKAGES), sorted(below(RECEIPTS).glob("*.plist")), strict=False):
        try:
            found.append(parse_receipt(read_bytes(path)))
        except OSError:
            continue
    return listed(found)


SYSTEMS: tuple[tuple[str, Callable[[], list[Path]], Callable[[], Installed]], ...] = (
    ("macos", _application_paths, _applications),
    ("pkgutil", lambda: [below(RECEIPTS)], _receipts),
    ("homebrew", apps.brew_paths, apps.brew),
)
