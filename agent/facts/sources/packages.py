"""The source on software: the system's packaging."""

from __future__ import annotations

import os
from pathlib import Path

from agent.facts.parsers.dpkg import Installed, parse_dpkg_status
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.files import lines_of

DPKG_STATUS = Path("/var/lib/dpkg/status")
MAX_STATUS_BYTES = 256 * 1024 * 1024
"""Fifty times a full desktop's; more than it is not dpkg's."""

MAX_LINE_BYTES = 64 * 1024
"""A kernel's list of conflicts is 20 KiB; of the fields that are read, none is near it."""

DPKG_DEADLINE_S = 25.0
"""Cold, on a slow disk that is busy, a desktop's takes seconds."""


def _dpkg() -> Installed:
    try:
        size = os.path.getsize(DPKG_STATUS)
    except FileNotFoundError:
        raise Missing("dpkg does not manage this system") from None
    if size > MAX_STATUS_BYTES:
        raise Missing(f"dpkg's status file has {size} bytes and cannot be one")
    return parse_dpkg_status(lines_of(DPKG_STATUS, MAX_LINE_BYTES))


def software_version() -> str:
    """Changes when packages do: what decides, without parsing, whether the section has to be made again."""
    try:
        stat = os.stat(DPKG_STATUS)
    except OSError:
        return ""
    return f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}"


DPKG = Source(name="dpkg", ask=_dpkg, platforms=LINUX, deadline_s=DPKG_DEADLINE_S)
