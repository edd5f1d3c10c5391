"""Which programs root may run: those that nobody else could have put there, and that nobody else may change."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

MAX_STEPS = 256
"""Folders and links on the way to a program; twenty are many, and links that lead in a circle have no end."""

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_roots(path: str) -> bool:
    """Whether `path`, which is absolute, leads to a file that only root can change or exchange.

    So each folder and link on the way has to be root's, and writable for no group and not for all: not for root's group
    either, whose members are accounts.
    """
    here, left = "/", [*reversed(Path(path).parts[1:])]
    for _ in range(MAX_STEPS):
        try:
            status = os.lstat(here)
            target = os.readlink(here) if stat.S_ISLNK(status.st_mode) else ""
        except OSError:
            return False
        if status.st_uid != 0 or (not target and status.st_mode & OTHERS_WRITE):
            return False
        if target:
            parts = Path(target).parts
            here = "/" if os.path.isabs(target) else os.path.dirname(here)
            left += reversed(parts[1:] if os.path.isabs(target) else parts)
        elif left:
            here = os.path.join(here, left.pop())
        else:
            return stat.S_ISREG(status.st_mode)
    return False


def windows_folders(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Those into which only administrators put programs. Neither the current folder, in which shutil.which looks first,
    nor PATH, which may name folders that accounts made below C:\\."""
    system = environment.get("SystemRoot", "")
    programs = environment.get("ProgramFiles", "")
    folders = [os.path.join(system, "System32")] if system else []
    folders += [os.path.join(folder, part) for folder in folders for part in ("wbem", r"WindowsPowerShell\v1.0")]
    folders += [os.path.join(programs, "smartmontools", "bin")] if programs else []
    folders += _winget_folders(programs) if programs else []
    return tuple(folder for folder in folders if os.path.isabs(folder))


def _winget_folders(programs: str) -> list[str]:
    """Of its package, which has its version in its name: the newest release last by name is near enough."""
    store = Path(programs, "WindowsApps")
    try:
        return sorted(map(str, store.glob("Microsoft.DesktopAppInstaller_*__8wekyb3d8bbwe")), reverse=True)
    except OSError:
        return []  # the folder is closed to all but TrustedInstaller and the system


def windows_program(name: str, environment: Mapping[str, str]) -> str | None:
    for folder in windows_folders(environment):
        path = os.path.join(folder, f"{name}.exe")
        if os.path.isfile(path):
            return path
    return None
