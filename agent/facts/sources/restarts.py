"""The source on whether a restart is due."""

from __future__ import annotations

import os
import platform

from agent.facts.parsers.restarts import kernel_reasons, parse_reboot_packages
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.files import read_text
from agent.facts.sources.machine import CONTAINER
from agent.facts.sources.places import below, folders

MAX_KERNELS = 200

REBOOT_REQUIRED = ("run/reboot-required", "var/run/reboot-required")
"""Debian and Ubuntu: packages leave it behind, and it is gone with the next start."""


def _linux() -> tuple[str, ...]:
    """Raises Missing where nobody can tell: in a container, whose kernel is its host's."""
    for path in REBOOT_REQUIRED:
        if below(path).exists():
            return _asked_by(f"{path}.pkgs")
    if CONTAINER.ask():
        raise Missing("a container has its host's kernel")
    kernels = [name for name in folders(below("lib/modules"), MAX_KERNELS) if _can_be_started(name)]
    if not kernels:
        raise Missing("no kernel is installed that could be compared with the one that runs")
    return kernel_reasons(platform.release(), kernels)


def _asked_by(path: str) -> tuple[str, ...]:
    try:
        return parse_reboot_packages(read_text(below(path))) or ("the system asks for it",)
    except OSError:
        return ("the system asks for it",)


def _can_be_started(release: str) -> bool:
    """Modules stay behind when a kernel goes, if somebody put others beside them."""
    beside = (f"boot/vmlinuz-{release}", f"boot/vmlinux-{release}", f"lib/modules/{release}/vmlinuz")
    return any(os.path.exists(below(path)) for path in beside)


def _windows() -> tuple[str, ...]:
    from agent.platform.windows_registry import reboot_reasons

    return reboot_reasons()


RESTARTS = Source(name="restart", ask=_linux, platforms=LINUX)
RESTARTS_WINDOWS = Source(name="restart", ask=_windows, platforms=frozenset({"win32"}))
