"""Folders that accounts own, as root may look at them: no link on the way, which may lead to what the account may not
read, and no list without end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOKED_AT = 4
"""Entries that are looked at for each that is wanted: others lie between them."""


@contextmanager
def folder_in(base: Path, *names: str, whoever: bool = False) -> Iterator[int]:
    """A descriptor of the folder base/names[0]/names[1]...; none of `names` may be a link. Raises OSError.

    base: a home, or another folder that root made; may be a link, of root's. whoever: also where a folder on the way
    is not of base's owner.
    """
    plain = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(base, plain)
    try:
        owner = os.fstat(descriptor).st_uid
        for name in names:
            inner = os.open(name, plain | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
            if not whoever and os.fstat(descriptor).st_uid != owner:
                raise PermissionError(f"{name} in {base} is another account's")
        yield descriptor
    finally:
        os.close(descriptor)


def names_in(folder: int, limit: int, *, suffix: str = "", only_folders: bool = False) -> list[str]:
    """Sorted, of at most LOOKED_AT times `limit` entries. Raises OSError."""
    with os.scandir(folder) as entries:
        some = [entry for _, entry in zip(range(LOOKED_AT * limit), entries, strict=False)]
    wanted = (e for e in some if e.name.endswith(suffix) and (not only_folders or e.is_dir(follow_symlinks=False)))
    return sorted(entry.name for entry in wanted)[:limit]


def folders_in(base: Path, *names: str, limit: int, whoever: bool = False) -> list[str]:
    """Names of the folders in base/names...; none where it cannot be read or is not theirs."""
    try:
        with folder_in(base, *names, whoever=whoever) as folder:
            return names_in(folder, limit, only_folders=True)
    except OSError:
        return []
