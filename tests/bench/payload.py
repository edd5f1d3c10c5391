"""The bytes that are moved, in memory where there is room: a disk is not what is measured."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.settings import MIB

IN_MEMORY = Path("/dev/shm")


class WrongBytes(AssertionError):
    """What has arrived is not what was sent: no figure is worth anything then."""


class Payload:
    """source: `size` random bytes.  arrived: where a copy goes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> Self:
        has_room = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > 3 * self.size
        self.folder = Path(tempfile.mkdtemp(prefix="auxilio-bench-", dir=IN_MEMORY if has_room else None))
        self.source, self.arrived = self.folder / "source", self.folder / "arrived"
        with self.source.open("wb") as file:
            for begun in range(0, self.size, MIB):
                file.write(os.urandom(min(MIB, self.size - begun)))
        self._sum = _sum(self.source)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def check_arrived(self) -> None:
        """Compare, and remove it. Raises WrongBytes."""
        if _sum(self.arrived) != self._sum:
            raise WrongBytes(f"{self.arrived.stat().st_size} of {self.size} bytes, or others than were sent")
        self.arrived.unlink()


def _sum(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
