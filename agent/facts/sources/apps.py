"""The sources on what is installed beside the distribution's packages: flatpaks, snaps, Homebrew, and what nobody
manages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from agent.facts.parsers.installed import Installed, instant, listed, value
from agent.facts.source import Missing
from agent.facts.sources import places
from agent.facts.sources.command import run_tool
from agent.facts.sources.files import read_theirs
from agent.facts.sources.places import below, homes
from agent.facts.sources.theirs import folder_in, folders_in
from protocol.sections.software import Package

TOOL_DEADLINE_S = 20.0
SOCKET_DEADLINE_S = 10.0

MAX_ENTRIES = 500
"""Of a folder with programs: more are a tree of something else."""

MAX_THEIRS = 500
"""Of flatpaks, and of programs, over all homes together: no account takes the place of the system's own packages."""

MAX_ASKED = 30
"""Folders of /opt about which rpm is asked, one by one: its list of all files is 30 MB."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024

PROGRAM_FOLDERS = ("usr/local/bin", "usr/local/sbin", "usr/local/games")
HOME_FOLDERS = ("Applications", "AppImages", ".local/bin", "bin", "Downloads", "Desktop")
CELLARS = (("opt", "homebrew"), ("usr/local",), ("home/linuxbrew", ".linuxbrew"))
"""Each with its first part apart, which root made; from there on, folders may be an account's."""

THEIR_FLATPAKS = (".local", "share", "flatpak")
SNAPD_SOCKET = "run/snapd.socket"

# -- flatpak ----------------------------------------------------------------------------------------------------------


def flatpak_paths() -> list[Path]:
    """flatpak touches .changed in an installation whenever something in it does."""
    return [path / ".changed" for path in _flatpak_installations()]


def watched_flatpak() -> list[Path]:
    """The system's alone: people's homes may be on a server that does not answer."""
    return [below("var/lib/flatpak/.changed")]


def _flatpak_installations() -> list[Path]:
    return [below("var/lib/flatpak"), *(home.joinpath(*THEIR_FLATPAKS) for home in homes())]


def flatpak() -> Installed:
    """The system's by flatpak itself; people's own by their folders: as root we run no tool on what is theirs."""
    from agent.facts.parsers.flatpak import COLUMNS, parse_flatpak_list

    system = below("var/lib/flatpak")
    packages: list[Package] = []
    dates = dict(deployed(system))
    if dates:
        asked = ["flatpak", "list", "--system", f"--columns={','.join(COLUMNS)}"]
        environment = {"FLATPAK_SYSTEM_DIR": str(system)}
        output = run_tool(asked, deadline_s=TOOL_DEADLINE_S, environment=environment).decode("utf-8", "replace")
        packages += parse_flatpak_list(output, dates).packages
    theirs = ((home, THEIR_FLATPAKS, ref) for home in homes() for ref in _refs(home, *THEIR_FLATPAKS))
    packages += [_flatpak_by_folder(ref, at) for ref, at in _dated(islice(theirs, MAX_THEIRS))]
    return listed(packages, truncated=next(theirs, None) is not None)


Ref = tuple[str, str, str, str]
"""Kind, id, architecture, branch: the folders of a flatpak."""


def deployed(installation: Path) -> Iterator[tuple[str, int]]:
    """Each "id/architecture/branch" with the time when it was installed or updated last."""
    for ref, at in _dated((installation, (), ref) for ref in _refs(installation)):
        yield "/".join(ref[1:]), at


def _refs(base: Path, *names: str) -> Iterator[Ref]:
    for kind in ("app", "runtime"):
        for name in folders_in(base, *names, kind, limit=MAX_ENTRIES):
            for architecture in folders_in(base, *names, kind, name, limit=8):
                for branch in folders_in(base, *names, kind, name, architecture, limit=16):
                    yield kind, name, architecture, branch


def _dated(refs: Iterable[tuple[Path, tuple[str, ...], Ref]]) -> Iterator[tuple[Ref, int]]:
    """Those that are there wholly. "active" is a link of flatpak's; nothing is read of where it leads."""
    for base, names, ref in refs:
        try:
            with folder_in(base, *names, *ref) as folder:
                yield ref, int(os.stat("active/deploy", dir_fd=folder).st_mtime)
        except OSError:
            continue


def _flatpak_by_folder(ref: Ref, at: int) -> Package:
    _, name, architecture, branch = (value(part) for part in ref)
    return Package(
        name=name, version=branch, architecture=architecture, source="user", system="flatpak", installed_at=instant(at)
    )


# -- snap -------------------------------------------------------------------------------------------------------------


def snap() -> Installed:
    from agent.facts.parsers.snap import parse_snap_list, parse_snaps

    try:
        return parse_snaps(ask_snapd("/v2/snaps"))
    except OSError:
        return parse_snap_list(run_tool(["snap", "list"], deadline_s=TOOL_DEADLINE_S).decode("utf-8", "replace"))


def ask_snapd(path: str) -> bytes:
    """GET, over its socket, which serves reading to everybody. Raises OSError."""
    import http.client
    import socket

    class Snapd(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(SOCKET_DEADLINE_S)
            self.sock.connect(str(below(SNAPD_SOCKET)))

    connection = Snapd("localhost")
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:  # an error is JSON as well, and would read as "none"
            raise OSError(f"snapd answers {response.status} to {path}")
        return response.read(MAX_ANSWER_BYTES)
    except http.client.HTTPException as exc:
        raise OSError(f"snapd does not speak HTTP: {exc}") from exc
    finally:
        connection.close()


# -- Homebrew ---------------------------------------------------------------------------------------------------------


def brew_paths() -> list[Path]:
    return [below(base).joinpath(*names) for base, *names in _cellars()]


def _cellars() -> list[tuple[str, ...]]:
    return [(*prefix, kind) for prefix in CELLARS for kind in ("Cellar", "Caskroom")]


def brew() -> Installed:
    from agent.facts.parsers.homebrew import brew_package

    found: list[Package | None] = []
    for base, *cellar in _cellars():
        for name in folders_in(below(base), *cellar, limit=MAX_ENTRIES * 4, whoever=True):
            for version in folders_in(below(base), *cellar, name, limit=8, whoever=True):
                found.append(brew_package(name, version, _receipt(below(base), *cellar, name, version)))
    return listed(found)


def _receipt(base: Path, *names: str) -> bytes:
    """Empty where there is none."""
    try:
        with folder_in(base, *names, whoever=True) as folder:
            return read_theirs("INSTALL_RECEIPT.json", folder=folder)
    except OSError:
        return b""


# -- what nobody manages ----------------------------------------------------------------------------------------------


def watched_programs() -> list[Path]:
    return [below("opt"), *(below(folder) for folder in PROGRAM_FOLDERS)]


def program_paths() -> list[Path]:
    """Where people put programs by hand."""
    return [*watched_programs(), *(home / folder for home in homes() for folder in HOME_FOLDERS)]


def unmanaged() -> Installed:
    """AppImages anywhere there; programs in the places for programs; folders of /opt that no package owns."""
    found: list[Package | None] = []
    for folder in PROGRAM_FOLDERS:
        found += _programs(below(folder))
    found += [_program(entry, below("opt")) for entry in _unowned(below("opt"))]
    theirs = (one for home in homes() for folder in HOME_FOLDERS for one in _programs(home, *folder.split("/")))
    found += islice(theirs, MAX_THEIRS)
    return listed(found, truncated=next(theirs, None) is not None)


def _programs(base: Path, *names: str) -> list[Package | None]:
    """Files that can be started; a link is something that is somewhere else."""
    path = base.joinpath(*names)
    for_programs = path.name in ("bin", "sbin", "games", "Applications", "AppImages")
    try:
        with folder_in(base, *names) as folder, os.scandir(folder) as entries:
            some = [entry for _, entry in zip(range(MAX_ENTRIES), entries, strict=False)]
            files = [entry for entry in some if entry.is_file(follow_symlinks=False) and _can_start(entry)]
            return [_program(entry, path) for entry in files if for_programs or _is_appimage(entry.name)]
    except OSError:
        return []


def _can_start(entry: os.DirEntry[str]) -> bool:
    return _is_appimage(entry.name) or bool(entry.stat(follow_symlinks=False).st_mode & 0o111)


def _is_appimage(name: str) -> bool:
    return name.lower().endswith(".appimage")


def _unowned(opt: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(opt) as entries:
            some = [entry for _, entry in zip(range(MAX_ENTRIES), entries, strict=False)]
        inside = [entry for entry in some if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    owned = _owned([f"/opt/{entry.name}" for entry in inside]) if inside else frozenset()
    return [entry for entry in inside if f"/opt/{entry.name}" not in owned]


def _owned(paths: list[str]) -> frozenset[str]:
    """Those that a package put there, as far as dpkg and rpm know."""
    owned: set[str] = set()
    if below("var/lib/dpkg/status").exists():
        asked = ["dpkg-query", f"--root={places.ROOT}", "-S", *paths]
        owned |= {line.rsplit(": ", 1)[-1] for line in _lines(asked)}
    for database in (below("var/lib/rpm"), below("usr/lib/sysimage/rpm")):
        if (database / "rpmdb.sqlite").exists() or (database / "Packages.db").exists():
            owned |= {path for path in paths[:MAX_ASKED] if _is_rpm_s(path, database)}
    return frozenset(owned)


def _is_rpm_s(path: str, database: Path) -> bool:
    try:
        return bool(run_tool(["rpm", "--dbpath", str(database), "-qf", path], deadline_s=TOOL_DEADLINE_S))
    except Missing:
        return False


def _lines(argv: list[str]) -> list[str]:
    try:
        return run_tool(argv, deadline_s=TOOL_DEADLINE_S, good=(0, 1)).decode("utf-8", "replace").splitlines()
    except Missing:
        return []


def _program(entry: os.DirEntry[str], folder: Path) -> Package | None:
    from agent.facts.parsers.program_names import program

    try:
        stat = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    name = entry.name.encode("utf-8", "replace").decode("utf-8")
    size_kib = -(-stat.st_size // 1024) if entry.is_file(follow_symlinks=False) else 0
    return program(name, str(folder), size_kib=size_kib, installed_at=int(stat.st_mtime))
