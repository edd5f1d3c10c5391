"""The section on software: what the system's packaging says is installed."""

from __future__ import annotations

import os

from agent.facts.parsers import parse_dpkg_status
from agent.facts.source import Asked, Missing
from protocol.report import Package, Software

DPKG_STATUS = "/var/lib/dpkg/status"
MAX_STATUS_BYTES = 256 * 1024 * 1024
"""Fifty times a full desktop's; more than it is not dpkg's."""


def software_section() -> Software:
    asked = Asked()
    packages = asked.ask("dpkg", _dpkg, None)
    return Software(
        systems=() if packages is None else ("dpkg",), packages=packages or (), unavailable=asked.unavailable
    )


def software_version() -> str:
    """Changes when packages do: what decides, without parsing, whether the section has to be made again."""
    try:
        stat = os.stat(DPKG_STATUS)
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}"


def _dpkg() -> tuple[Package, ...] | None:
    if not os.path.exists(DPKG_STATUS):
        raise Missing("dpkg does not manage this system")
    if os.path.getsize(DPKG_STATUS) > MAX_STATUS_BYTES:
        raise Missing("dpkg's status file is too large to be one")
    with open(DPKG_STATUS, encoding="utf-8", errors="replace") as file:
        return parse_dpkg_status(file)
