"""Whether files changed, and answers that are kept until they do: nothing is parsed twice that is the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


def stamp_of(paths: Iterable[Path]) -> str:
    """Differs when any of the files or folders was written, replaced, made or removed; "" where there is none.

    A folder's changes when an entry comes or goes, not when one is written.
    """
    stamps: list[str] = []
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError:
            continue
        stamps.append(f"{path}={stat.st_mtime_ns}-{stat.st_size if not os.path.isdir(path) else 0}-{stat.st_ino}")
    return "\n".join(stamps)


class Kept(Generic[T]):
    """The last answer, with the stamp of what it was read from."""

    def __init__(self, read: Callable[[], T], stamp: Callable[[], str]) -> None:
        self._read, self._stamp = read, stamp
        self._lock = threading.Lock()
        self._held: tuple[str, T] | None = None

    def __call__(self) -> T:
        """Raises what `read` raises; then nothing is kept."""
        with self._lock:
            stamp = self._stamp()  # before reading: what changes meanwhile is read again
            if self._held is None or not stamp or self._held[0] != stamp:
                self._held = None
                self._held = (stamp, self._read())
            return self._held[1]
