"""The sources on updates that wait: each packaging system's own answer, from the lists that it holds.

None goes to the network, takes a lock, or changes anything; how old the lists are is part of the answer. The one
exception is snapd, which holds no list and asks its store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from agent.facts.parsers.installed import Pending, instant, pending
from agent.facts.source import LINUX, Missing, Source, find_program
from agent.facts.sources import apps
from agent.facts.sources.command import run_tool
from agent.facts.sources.packages import APK_DATABASES, MACOS, WINDOWS, rpm_files
from agent.facts.sources.places import below, folders
from agent.facts.sources.unchanged import Kept, stamp_of

TOOL_DEADLINE_S = 25.0
MAX_LISTS = 200


class Upgrades(msgspec.Struct, frozen=True):
    """name: of the packaging system.  is_here: whether it can be asked.  refreshed_at: of its lists, Unix seconds."""

    name: str
    is_here: Callable[[], bool]
    source: Source[Pending]
    refreshed_at: Callable[[], int | None]


def _upgrades(
    name: str,
    is_here: Callable[[], bool],
    ask: Callable[[], Pending],
    *,
    refreshed_at: Callable[[], int | None] = lambda: None,
    depends_on: Callable[[], list[Path]] = list,
    platforms: frozenset[str] = LINUX,
) -> Upgrades:
    """depends_on: what the answer follows from; without, it is asked anew each time."""
    kept = Kept(ask, lambda: stamp_of(depends_on()))
    source = Source(name=f"{name}_updates", ask=kept, platforms=platforms, deadline_s=TOOL_DEADLINE_S + 3)
    return Upgrades(name, is_here, source, refreshed_at)


def _text(argv: list[str], good: tuple[int, ...] = (0,)) -> str:
    return run_tool(argv, deadline_s=TOOL_DEADLINE_S, good=good).decode("utf-8", "replace")


def newest(paths: Iterable[Path]) -> int | None:
    """The last time that one of them was written."""
    times = []
    for path in paths:
        try:
            times.append(int(path.stat().st_mtime))
        except OSError:
            continue
    return instant(max(times, default=0))


# -- apt --------------------------------------------------------------------------------------------------------------

APT_LISTS = "var/lib/apt/lists"


def _apt() -> Pending:
    """Its list costs a tenth of a simulation, which is left for an apt that is older than the list (1.0).

    dist-upgrade: a new kernel is a new package, which `upgrade` would leave out. Neither takes a lock.
    """
    from agent.facts.parsers.apt import parse_apt_list, parse_apt_upgrades

    try:
        return parse_apt_list(_text(["apt", "-qq", "list", "--upgradable"]))
    except Missing:
        return parse_apt_upgrades(_text(["apt-get", "-s", "-qq", "-o", "Debug::NoLocking=1", "dist-upgrade"]))


def _apt_depends() -> list[Path]:
    apt = ("sources.list", "sources.list.d", "preferences", "preferences.d", "apt.conf.d")
    return [below("var/lib/dpkg/status"), below(APT_LISTS), *(below("etc/apt") / name for name in apt)]


def _apt_refreshed() -> int | None:
    """Lists bear their archive's date; the folders that apt works in bear ours."""
    stamp = below("var/lib/apt/periodic/update-success-stamp")
    return newest([stamp, below(APT_LISTS), below(APT_LISTS) / "partial"])


# -- dnf and zypper ---------------------------------------------------------------------------------------------------


def _has_rpm(tool: str) -> bool:
    return any(path.exists() for path in rpm_files()) and find_program(tool) is not None


def _dnf() -> Pending:
    """Or yum, before dnf: it takes the same words but for the advisories'."""
    from agent.facts.parsers.dnf import parse_dnf_advisories, parse_dnf_upgrades

    tool, security = ("dnf", "--security") if find_program("dnf") else ("yum", "security")
    upgrades = _text([tool, "-q", "-C", "check-update"], good=(0, 100))  # 100: there are some
    try:
        advisories = parse_dnf_advisories(_text([tool, "-q", "-C", "updateinfo", "list", security]))
    except Missing:
        advisories = frozenset()  # repositories without advisories have updates all the same
    return parse_dnf_upgrades(upgrades, advisories)


def _dnf_caches() -> list[Path]:
    return [below("var/cache/dnf"), below("var/cache/libdnf5")]


def _dnf_refreshed() -> int | None:
    inside = [cache / name / "repodata" for cache in _dnf_caches() for name in folders(cache, MAX_LISTS)]
    return newest([*inside, below("var/cache/dnf/last_makecache")])


def _zypper() -> Pending:
    """Patches that are security fixes, and every package that has a newer version."""
    from agent.facts.parsers.zypper import parse_zypper_patches, parse_zypper_updates

    asked = ["zypper", "--non-interactive", "--no-refresh", "--quiet"]
    updates = parse_zypper_updates(_text([*asked, "list-updates"])).updates
    patches = parse_zypper_patches(_text([*asked, "list-patches", "--category", "security"])).updates
    return pending([*updates, *patches])


def _zypper_caches() -> list[Path]:
    raw = below("var/cache/zypp/raw")
    return [raw, *(raw / name / "cookie" for name in folders(raw, MAX_LISTS))]


# -- the others -------------------------------------------------------------------------------------------------------


def _pacman() -> Pending:
    from agent.facts.parsers.pacman import parse_pacman_upgrades

    return parse_pacman_upgrades(_text(["pacman", "-Qu"], good=(0, 1)))  # 1: there is none


def _pacman_lists() -> list[Path]:
    sync = below("var/lib/pacman/sync")
    return [sync, *sorted(sync.glob("*.db"))[:MAX_LISTS]]


def _apk() -> Pending:
    from agent.facts.parsers.apk import parse_apk_upgrades

    return parse_apk_upgrades(_text(["apk", "--no-network", "version", "-l", "<"]))


def _apk_lists() -> list[Path]:
    return sorted(below("var/cache/apk").glob("APKINDEX*"))[:MAX_LISTS]


def _flatpak() -> Pending:
    from agent.facts.parsers.flatpak import UPDATE_COLUMNS, parse_flatpak_updates

    columns = ",".join(UPDATE_COLUMNS)
    asked = ["flatpak", "remote-ls", "--system", "--updates", "--cached", f"--columns={columns}"]
    return parse_flatpak_updates(_text(asked))


def _has_flatpaks() -> bool:
    return any(True for _ in apps.deployed(below("var/lib/flatpak"))) and find_program("flatpak") is not None


def _snap() -> Pending:
    from agent.facts.parsers.snap import parse_snap_refreshes

    return parse_snap_refreshes(apps.ask_snapd("/v2/find?select=refresh"))


def _snap_refreshed() -> int | None:
    from agent.facts.parsers.snap import parse_last_refresh

    try:
        return parse_last_refresh(apps.ask_snapd("/v2/system-info"))
    except OSError:
        return None


LINUX_UPGRADES: tuple[Upgrades, ...] = (
    _upgrades(
        "dpkg",
        lambda: below("var/lib/dpkg/status").exists() and find_program("apt-get") is not None,
        _apt,
        refreshed_at=_apt_refreshed,
        depends_on=_apt_depends,
    ),
    _upgrades(
        "rpm",
        lambda: (_has_rpm("dnf") or _has_rpm("yum")) and not _has_rpm("zypper"),
        _dnf,
        refreshed_at=_dnf_refreshed,
        depends_on=lambda: [*rpm_files(), *_dnf_caches()],
    ),
    _upgrades(
        "rpm",
        lambda: _has_rpm("zypper"),
        _zypper,
        refreshed_at=lambda: newest(_zypper_caches()),
        depends_on=lambda: [*rpm_files(), *_zypper_caches()],
    ),
    _upgrades(
        "pacman",
        lambda: below("var/lib/pacman/local").exists() and find_program("pacman") is not None,
        _pacman,
        refreshed_at=lambda: newest(_pacman_lists()),
        depends_on=lambda: [below("var/lib/pacman/local"), *_pacman_lists()],
    ),
    _upgrades(
        "apk",
        lambda: any(below(path).exists() for path in APK_DATABASES) and find_program("apk") is not None,
        _apk,
        refreshed_at=lambda: newest(_apk_lists()),
        depends_on=lambda: [*(below(path) for path in APK_DATABASES), *_apk_lists()],
    ),
    _upgrades("flatpak", _has_flatpaks, _flatpak),
    _upgrades("snap", lambda: below(apps.SNAPD_SOCKET).exists(), _snap, refreshed_at=_snap_refreshed),
)


# -- Windows and macOS: none of this has run there yet ----------------------------------------------------------------


def _windows_update() -> Pending:
    from agent.facts.parsers.windows_update import SEARCH, parse_windows_updates

    return parse_windows_updates(run_tool(["powershell", "-NoProfile", "-Command", SEARCH], deadline_s=TOOL_DEADLINE_S))


def _windows_refreshed() -> int | None:
    from agent.facts.parsers.instants import iso_instant
    from agent.platform.windows_registry import last_search

    try:
        return iso_instant(last_search())
    except Missing:
        return None


def _winget() -> Pending:
    from agent.facts.parsers.console_text import text_of
    from agent.facts.parsers.winget import parse_winget_upgrades

    asked = ["winget", "upgrade", "--disable-interactivity", "--accept-source-agreements"]
    return parse_winget_upgrades(text_of(run_tool(asked, deadline_s=TOOL_DEADLINE_S)))


def _softwareupdate() -> Pending:
    from agent.facts.parsers.softwareupdate import parse_softwareupdate

    return parse_softwareupdate(_text(["softwareupdate", "--list", "--no-scan"]))


def _mac_refreshed() -> int | None:
    return newest([below("Library/Preferences/com.apple.SoftwareUpdate.plist")])


WINDOWS_UPGRADES: tuple[Upgrades, ...] = (
    _upgrades("windows-update", lambda: True, _windows_update, refreshed_at=_windows_refreshed, platforms=WINDOWS),
    _upgrades("windows", lambda: find_program("winget") is not None, _winget, platforms=WINDOWS),
)

MAC_UPGRADES: tuple[Upgrades, ...] = (
    _upgrades("macos", lambda: True, _softwareupdate, refreshed_at=_mac_refreshed, platforms=MACOS),
)


def upgrades_of(platform: str) -> tuple[Upgrades, ...]:
    """Those that could be on such a system (sys.platform)."""
    if platform in LINUX:
        return LINUX_UPGRADES
    return {"win32": WINDOWS_UPGRADES, "darwin": MAC_UPGRADES}.get(platform, ())
