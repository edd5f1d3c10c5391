"""Sources on what starts by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent.facts.parsers.startup_entries import MAX_PROGRAMS, parse_desktop_entry, parse_reg_query, run_programs
from agent.facts.source import LINUX, Source, fit_text, is_root
from agent.facts.sources.command import run
from agent.facts.sources.files import read_theirs
from protocol.sections.startup import StartupProgram

AUTOSTART = Path("/etc/xdg/autostart")
USER_UNITS = Path("/etc/systemd/user")
HOMES = Path("/home")
ROOT_HOME = Path("/root")
MAX_HOMES = 64
MAX_ENTRY_BYTES = 64 * 1024
REG_S = 5.0

RUN_KEYS = tuple(
    rf"{hive}\Software\{view}Microsoft\Windows\CurrentVersion\{name}"
    for hive, view in (("HKLM", ""), ("HKLM", "WOW6432Node\\"), ("HKCU", ""))
    for name in ("Run", "RunOnce")
)
APPROVED_KEYS = tuple(
    rf"{hive}\Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\{name}"
    for hive in ("HKLM", "HKCU")
    for name in ("Run", "Run32")
)


def _linux() -> tuple[StartupProgram, ...]:
    """Of everybody, and of each account whose home this process may read. As root it opens what others made: files
    alone, no links, and nothing that waits."""
    found: list[StartupProgram] = []
    for folder, owner in [(AUTOSTART, ""), *((home / ".config/autostart", home.name) for home in _homes())]:
        found += _entries(folder, owner)
    for folder, owner in [(USER_UNITS, ""), *((home / ".config/systemd/user", home.name) for home in _homes())]:
        found += _units(folder, owner)
    return tuple(sorted(found, key=lambda one: (one.owner, one.how, one.name))[:MAX_PROGRAMS])


def _homes() -> list[Path]:
    if not is_root():
        return [Path.home()]
    names = sorted(os.listdir(HOMES))[:MAX_HOMES] if HOMES.exists() else []
    return [HOMES / name for name in names] + [ROOT_HOME]


def _entries(folder: Path, owner: str) -> Iterator[StartupProgram]:
    for name in _names(folder, ".desktop"):
        text = _read(folder / name)
        if text is None:
            continue
        entry = parse_desktop_entry(text, fit_text(name, 120), fit_text(owner, 64))
        if entry is not None:
            yield entry


def _units(folder: Path, owner: str) -> Iterator[StartupProgram]:
    """What `systemctl --user enable` links into the folders of targets."""
    for target in _names(folder, ".wants"):
        for name in _names(folder / target, ".service"):
            plain = fit_text(name, 120)
            yield StartupProgram(name=plain, program=plain, how="unit", owner=fit_text(owner, 64))


def _names(folder: Path, suffix: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(suffix))[:MAX_PROGRAMS]
    except OSError:
        return []  # there is none, or it is closed to this account


def _read(path: Path) -> str | None:
    try:
        return read_theirs(path, MAX_ENTRY_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def _windows() -> tuple[StartupProgram, ...]:
    values = tuple(value for key in RUN_KEYS for value in parse_reg_query(_reg(key)))
    approved = tuple(value for key in APPROVED_KEYS for value in parse_reg_query(_reg(key)))
    return run_programs(values, approved)[:MAX_PROGRAMS]


def _reg(key: str) -> str:
    """Empty where there is no such key."""
    return run("reg", "query", key, deadline_s=REG_S).output.decode("mbcs" if os.name == "nt" else "utf-8", "replace")


AUTOSTARTS = Source(name="autostart", ask=_linux, platforms=LINUX)
RUN_VALUES = Source(name="run_keys", ask=_windows, platforms=frozenset({"win32"}), program="reg", deadline_s=REG_S * 4)
