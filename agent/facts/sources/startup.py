"""Sources on what starts by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent.facts.parsers.startup_entries import MAX_PROGRAMS, parse_desktop_entry, parse_reg_query, run_programs
from agent.facts.source import LINUX, Source, fit_text, is_root
from agent.facts.sources.command import run
from agent.facts.sources.files import read_theirs
from agent.facts.sources.theirs import folder_in, names_in
from protocol.sections.startup import StartupProgram

AUTOSTART = Path("/etc/xdg/autostart")
USER_UNITS = Path("/etc/systemd/user")
HOMES = Path("/home")
ROOT_HOME = Path("/root")
MAX_HOMES = 64
MAX_TARGETS = 16
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


Place = tuple[Path, tuple[str, ...], str]
"""A folder that is not an account's, folders below it that may be one's, and whose they are ("" for everybody's)."""


def _linux() -> tuple[StartupProgram, ...]:
    """Of everybody, and of each account whose home this process may read. As root it opens what others made: files and
    folders alone, no links on the way, and nothing that waits."""
    homes = _homes()
    found: list[StartupProgram] = []
    for place in [(AUTOSTART, (), ""), *((home, (".config", "autostart"), home.name) for home in homes)]:
        found += _entries(*place)
    for place in [(USER_UNITS, (), ""), *((home, (".config", "systemd", "user"), home.name) for home in homes)]:
        found += _units(*place)
    return tuple(sorted(found, key=lambda one: (one.owner, one.how, one.name))[:MAX_PROGRAMS])


def _homes() -> list[Path]:
    if not is_root():
        return [Path.home()]
    names = sorted(os.listdir(HOMES))[:MAX_HOMES] if HOMES.exists() else []
    return [HOMES / name for name in names] + [ROOT_HOME]


def _entries(base: Path, names: tuple[str, ...], owner: str) -> list[StartupProgram]:
    found: list[StartupProgram] = []
    try:
        with folder_in(base, *names) as folder:
            for name in names_in(folder, MAX_PROGRAMS, suffix=".desktop"):
                text = _read(name, folder)
                entry = parse_desktop_entry(text, fit_text(name, 120), fit_text(owner, 64))
                found += [entry] if entry is not None else []
    except OSError:
        pass  # there is none, it is closed to this account, or it is none of the home's owner
    return found


def _read(name: str, folder: int) -> str:
    try:
        return read_theirs(name, MAX_ENTRY_BYTES, folder=folder).decode("utf-8", "replace")
    except OSError:
        return ""


def _units(base: Path, names: tuple[str, ...], owner: str) -> Iterator[StartupProgram]:
    """What `systemctl --user enable` links into the folders of targets."""
    for target in _names(base, names, ".wants", MAX_TARGETS):
        for name in _names(base, (*names, target), ".service", MAX_PROGRAMS):
            plain = fit_text(name, 120)
            yield StartupProgram(name=plain, program=plain, how="unit", owner=fit_text(owner, 64))


def _names(base: Path, names: tuple[str, ...], suffix: str, limit: int) -> list[str]:
    try:
        with folder_in(base, *names) as folder:
            return names_in(folder, limit, suffix=suffix)
    except OSError:
        return []


def _windows() -> tuple[StartupProgram, ...]:
    values = tuple(value for key in RUN_KEYS for value in parse_reg_query(_reg(key)))
    approved = tuple(value for key in APPROVED_KEYS for value in parse_reg_query(_reg(key)))
    return run_programs(values, approved)[:MAX_PROGRAMS]


def _reg(key: str) -> str:
    """Empty where there is no such key."""
    return run("reg", "query", key, deadline_s=REG_S).output.decode("mbcs" if os.name == "nt" else "utf-8", "replace")


AUTOSTARTS = Source(name="autostart", ask=_linux, platforms=LINUX)
RUN_VALUES = Source(name="run_keys", ask=_windows, platforms=frozenset({"win32"}), program="reg", deadline_s=REG_S * 4)
