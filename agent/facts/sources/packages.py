"""The sources on software: the system's packaging, each asked where its database is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import msgspec

from agent.facts.parsers.dpkg import parse_dpkg_status
from agent.facts.parsers.installed import Installed, listed
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources import apps
from agent.facts.sources.command import run_tool
from agent.facts.sources.files import lines_of, read_text
from agent.facts.sources.places import below, folders
from agent.facts.sources.unchanged import Kept, stamp_of
from protocol.sections.software import MAX_PACKAGES

MAX_DATABASE_BYTES = 256 * 1024 * 1024
"""Fifty times a full desktop's; more than it is no list of packages."""

MAX_LINE_BYTES = 64 * 1024
"""A kernel's list of conflicts is 20 KiB; of the fields that are read, none is near it."""

FILE_DEADLINE_S = 25.0
"""Cold, on a slow disk that is busy, a desktop's takes seconds."""

TOOL_DEADLINE_S = 20.0

WINDOWS, MACOS = frozenset({"win32"}), frozenset({"darwin"})

RPM_DATABASES = ("var/lib/rpm", "usr/lib/sysimage/rpm")
RPM_FILES = ("rpmdb.sqlite", "Packages", "Packages.db")
"""sqlite since 4.16; Berkeley DB before; SUSE's own."""

APK_DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")


class Packaging(msgspec.Struct, frozen=True):
    """name: as in Package.system.  watched: what changes when packages do, on the system's own disk: whoever looks at
    it may not hang.  source: None where nothing of it is here; it alone looks into homes, which may be far away."""

    name: str
    watched: Callable[[], list[Path]]
    source: Source[Installed | None]


def _packaging(
    name: str,
    paths: Callable[[], list[Path]],
    read: Callable[[], Installed],
    *,
    watched: Callable[[], list[Path]] | None = None,
    platforms: frozenset[str] = LINUX,
    deadline_s: float = TOOL_DEADLINE_S + 5,
) -> Packaging:
    """paths: what the answer is read from; where none of them is, there is nothing to be asked."""

    def ask() -> Installed | None:
        return read() if platforms == WINDOWS or any(path.exists() for path in paths()) else None

    kept = Kept(ask, lambda: stamp_of(paths()))
    source = Source[Installed | None](name=name, ask=kept, platforms=platforms, deadline_s=deadline_s)
    return Packaging(name, watched or paths, source)


# -- databases that are read as files ---------------------------------------------------------------------------------


def _dpkg() -> Installed:
    status = _checked(below("var/lib/dpkg/status"))
    return parse_dpkg_status(lines_of(status, MAX_LINE_BYTES), _dpkg_dates(below("var/lib/dpkg/info")))


def _dpkg_dates(info: Path) -> dict[str, int]:
    """When each package's list of files was written, which is when it was unpacked."""
    try:
        with os.scandir(info) as entries:
            return {e.name[:-5]: int(e.stat().st_mtime) for e in entries if e.name.endswith(".list")}
    except OSError:
        return {}


def _apk() -> Installed:
    from agent.facts.parsers.apk import parse_apk_installed

    path = next(path for path in _apk_paths() if path.exists())
    return parse_apk_installed(lines_of(_checked(path), MAX_LINE_BYTES))


def _apk_paths() -> list[Path]:
    return [below(path) for path in APK_DATABASES]


def _pacman() -> Installed:
    from agent.facts.parsers.pacman import parse_pacman_desc

    return listed(parse_pacman_desc(text) for text in _descriptions(below("var/lib/pacman/local")))


def _descriptions(local: Path) -> Iterator[str]:
    for name in folders(local, MAX_PACKAGES):
        try:
            yield read_text(local / name / "desc")
        except OSError:
            continue  # it is being upgraded


def _checked(path: Path) -> Path:
    size = os.path.getsize(path)
    if size > MAX_DATABASE_BYTES:
        raise Missing(f"{path} has {size} bytes and cannot be a list of packages")
    return path


# -- those that their own tools tell ----------------------------------------------------------------------------------


def rpm_files() -> list[Path]:
    return [below(folder) / name for folder in RPM_DATABASES for name in RPM_FILES]


def _rpm() -> Installed:
    from agent.facts.parsers.rpm import QUERY, parse_rpm_list

    database = next(path.parent for path in rpm_files() if path.exists())
    # By name: Debian's rpm looks in the caller's home otherwise.
    asked = ["rpm", "--dbpath", str(database), "-qa", "--queryformat", QUERY]
    return parse_rpm_list(run_tool(asked, deadline_s=TOOL_DEADLINE_S).decode("utf-8", "replace"))


def _nix() -> Installed:
    from agent.facts.parsers.nix import parse_nix_paths

    profiles = [str(path) for path in _nix_profiles() if path.exists()]
    output = run_tool(["nix-store", "--query", "--requisites", *profiles], deadline_s=TOOL_DEADLINE_S)
    return parse_nix_paths(output.decode("utf-8", "replace"))


def _nix_profiles() -> list[Path]:
    return [below("run/current-system/sw"), below("nix/var/nix/profiles/default")]


DPKG = _packaging("dpkg", lambda: [below("var/lib/dpkg/status")], _dpkg, deadline_s=FILE_DEADLINE_S)

LINUX_SYSTEMS: tuple[Packaging, ...] = (
    DPKG,
    _packaging("rpm", rpm_files, _rpm),
    _packaging("pacman", lambda: [below("var/lib/pacman/local")], _pacman, deadline_s=FILE_DEADLINE_S),
    _packaging("apk", _apk_paths, _apk, deadline_s=FILE_DEADLINE_S),
    _packaging("flatpak", apps.flatpak_paths, apps.flatpak, watched=apps.watched_flatpak),
    _packaging("snap", lambda: [below("var/lib/snapd/snaps"), below("var/lib/snapd/sequence")], apps.snap),
    _packaging("nix", _nix_profiles, _nix),
    _packaging("homebrew", apps.brew_paths, apps.brew),
    _packaging(
        "files",
        apps.program_paths,
        apps.unmanaged,
        watched=apps.watched_programs,
        deadline_s=FILE_DEADLINE_S,
    ),
)


@cache
def systems_of(platform: str) -> tuple[Packaging, ...]:
    """Those that could be on such a system (sys.platform)."""
    if platform in LINUX:
        return LINUX_SYSTEMS
    if platform == "win32":
        from agent.facts.sources.windows_packages import SYSTEMS

        return tuple(_packaging(name, list, read, platforms=WINDOWS) for name, read in SYSTEMS)
    if platform == "darwin":
        from agent.facts.sources import mac_packages as mac

        return tuple(
            _packaging(name, paths, read, platforms=MACOS, deadline_s=mac.DEADLINE_S)
            for name, paths, read in mac.SYSTEMS
        )
    return ()


def software_version() -> str:
    """Changes when packages do: what decides, without parsing, whether the section has to be made again."""
    import hashlib
    import sys

    stamps = [stamp_of(system.watched()) for system in systems_of(sys.platform)] if sys.platform in LINUX else []
    return hashlib.sha256("\n\n".join(stamps).encode("utf-8", "replace")).hexdigest()[:32] if any(stamps) else ""
