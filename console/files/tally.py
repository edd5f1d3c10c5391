"""What a copy has done so far, and what it could not do. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

MAX_TOLD = 100
"""Failures told in a line each; a device can make up a million of them."""


class Tally:
    """tell: gets one line a failure.

    files, bytes: what the copy consists of, as far as that is known.  copied, unchanged: of these files.  moved: bytes
    that travelled.  settled: bytes of `bytes` that are in place, however they got there.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = lambda line: None
        self.files = self.bytes = 0
        self.copied = self.unchanged = self.resumed = self.folders = self.links = self.failed = 0
        self.moved = self.settled = 0
        self.skipped: Counter[str] = Counter()
        self.failures: list[tuple[str, str]] = []
        self.current = ""

    def expect(self, size: int) -> None:
        """One file more, of `size` bytes."""
        self.files += 1
        self.bytes += size

    def fail(self, what: str, why: str) -> None:
        """what: fit to be shown."""
        self.failed += 1
        if len(self.failures) < MAX_TOLD:
            self.failures.append((what, why))
            self.tell(f"{what}: {why}")
        elif self.failed == MAX_TOLD + 1:
            self.tell("more failures are counted and not told")

    def notes(self) -> list[str]:
        """What a person should know although nothing failed."""
        words = {"link": "symbolic links were not copied (--links copies those that stay inside)"}
        return [f"{count} {words.get(kind, f'{kind} were not copied')}" for kind, count in sorted(self.skipped.items())]

    def record(self, seconds: float) -> dict[str, Any]:
        """For --json. sizes: bytes."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "copied": self.copied,
            "unchanged": self.unchanged,
            "resumed": self.resumed,
            "folders": self.folders,
            "links": self.links,
            "skipped": dict(sorted(self.skipped.items())),
            "bytes_moved": self.moved,
            "seconds": round(seconds, 3),
            "failed": self.failed,
            "failures": [{"path": what, "why": why} for what, why in self.failures],
        }
