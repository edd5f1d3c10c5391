"""Where things are on this machine; below another root where a test puts one."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/")

MAX_HOMES = 200
"""A school's server has more; its software is not in homes."""


def below(path: str) -> Path:
    return ROOT / path


def folders(path: Path, limit: int) -> list[str]:
    """Names of the folders in a folder, sorted; none where it cannot be read."""
    try:
        with os.scandir(path) as entries:
            found = [entry.name for _, entry in zip(range(limit * 4), entries, strict=False) if entry.is_dir()]
    except OSError:
        return []
    return sorted(found)[:limit]


def homes() -> list[Path]:
    """Of this account and of those below /home or /Users."""
    found = [folder / name for folder in (below("home"), below("Users")) for name in folders(folder, MAX_HOMES)]
    if Path("/") == ROOT:
        found.append(Path.home())
    return list(dict.fromkeys(found))[:MAX_HOMES]
