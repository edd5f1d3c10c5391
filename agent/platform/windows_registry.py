"""Reads Windows' registry into plain keys, which agent/facts/parsers reads. None of this has run on Windows yet.

Source: Python, winreg; Microsoft, "Registry Redirector" (the two views), "AppxAllUserStore".
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

from agent.facts.parsers.windows_registry import MAX_KEYS, MAX_VALUE_CHARS, Key
from agent.facts.source import Missing

UNINSTALL = "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall"
STORE = "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Appx\\AppxAllUserStore\\Applications"
REBOOT_PENDING = (
    "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\RebootPending",
    "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update\\RebootRequired",
)
LAST_SEARCH = "SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update\\Results\\Detect"

VALUES = (
    "DisplayName",
    "DisplayVersion",
    "Publisher",
    "InstallDate",
    "EstimatedSize",
    "SystemComponent",
    "ParentKeyName",
    "ReleaseType",
    "WindowsInstaller",
    "VersionMajor",
    "VersionMinor",
)


def _winreg() -> Any:
    """Python's module, which only Windows has; by its name, since whoever checks types elsewhere sees an empty one."""
    try:
        return importlib.import_module("winreg")
    except ImportError:
        raise Missing("only Windows has a registry") from None


MAX_THEIRS = 500
"""Uninstall keys of accounts, over all of them together: whoever is logged in may write as many as fit."""


def uninstall_keys() -> tuple[Key, ...]:
    """The machine's, then at most MAX_THEIRS of all accounts: none takes the place of what everybody has."""
    machine = _winreg().HKEY_LOCAL_MACHINE
    keys: list[Key] = []
    theirs: list[Key] = []
    for hive, path, view in _uninstall_places():
        if hive == machine:
            keys += _children(hive, path, view)
        else:
            theirs += islice(_children(hive, path, view), MAX_THEIRS - len(theirs))
    return tuple(keys[:MAX_KEYS] + theirs)


def store_package_names() -> tuple[str, ...]:
    winreg = _winreg()
    return tuple(_names(winreg.HKEY_LOCAL_MACHINE, STORE, winreg.KEY_WOW64_64KEY))


def reboot_reasons() -> tuple[str, ...]:
    """The folder of each key that is there while a restart is due."""
    winreg = _winreg()
    reasons = []
    for path in REBOOT_PENDING:
        try:
            winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY).Close()
        except OSError:
            continue
        reasons.append(path.rsplit("\\", 2)[-2])
    return tuple(reasons)


def last_search() -> str:
    """When Windows Update looked last, as it writes it ("2024-05-01 10:00:00", UTC); "" where it did not."""
    winreg = _winreg()
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, LAST_SEARCH, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as key:
            return str(winreg.QueryValueEx(key, "LastSuccessTime")[0])[:64]
    except OSError:
        return ""


def _uninstall_places() -> list[tuple[int, str, int]]:
    """Hive, path and view: the machine's two, and each loaded account's own."""
    winreg = _winreg()
    wide, narrow = winreg.KEY_WOW64_64KEY, winreg.KEY_WOW64_32KEY
    places = [(winreg.HKEY_LOCAL_MACHINE, UNINSTALL, wide), (winreg.HKEY_LOCAL_MACHINE, UNINSTALL, narrow)]
    accounts = [name for name in _names(winreg.HKEY_USERS, "", wide) if not name.endswith("_Classes")]
    return places + [(winreg.HKEY_USERS, f"{account}\\{UNINSTALL}", wide) for account in accounts]


def _names(hive: int, path: str, view: int) -> Iterator[str]:
    winreg = _winreg()
    try:
        with winreg.OpenKey(hive, path, 0, winreg.KEY_READ | view) as key:
            for index in range(min(winreg.QueryInfoKey(key)[0], MAX_KEYS)):
                yield winreg.EnumKey(key, index)
    except OSError:
        return


def _children(hive: int, path: str, view: int) -> Iterator[Key]:
    winreg = _winreg()
    narrow = view == winreg.KEY_WOW64_32KEY
    shown = path.replace("SOFTWARE\\", "SOFTWARE\\WOW6432Node\\", 1) if narrow else path
    root = "HKEY_LOCAL_MACHINE" if hive == winreg.HKEY_LOCAL_MACHINE else "HKEY_USERS"
    for name in _names(hive, path, view):
        values: dict[str, str | int] = {}
        try:
            with winreg.OpenKey(hive, f"{path}\\{name}", 0, winreg.KEY_READ | view) as key:
                for wanted in VALUES:
                    try:
                        data = winreg.QueryValueEx(key, wanted)[0]
                    except OSError:
                        continue
                    if isinstance(data, str | int):
                        values[wanted.lower()] = data[:MAX_VALUE_CHARS] if isinstance(data, str) else data
        except OSError:
            continue
        yield Key(f"{root}\\{shown}\\{name}", values)
