"""The device's own append-only log: requests, refusals with reasons, sessions, commands, documents.

JSON lines, `at` first. Security events are on the disk before the call returns. It rotates by size and keeps a few
old files; nothing else ever removes a line. It never raises: a full disk is what somebody may be about to repair.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
"""Of one file: some 20,000 entries."""

KEPT = 4
"""Old files besides the current one."""

MAX_FIELD_CHARS = 2_000


class FileJournal:
    """Writes entries to `path`. now: Unix seconds."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._file: int | None = None

    def record(self, event: str, **fields: object) -> None:
        """Append an entry and flush it to the disk. Never raises."""
        entry = {"at": round(self._now(), 3), "event": event, **{k: _plain(v) for k, v in fields.items()}}
        line = json.dumps(entry, ensure_ascii=True, separators=(",", ":")) + "\n"
        try:
            self._rotate(len(line))
            if self._file is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
                self._file = os.open(self._path, flags, 0o600)
            os.write(self._file, line.encode("ascii"))
            os.fsync(self._file)
        except OSError as exc:
            log.error("the journal cannot be written: %s; entry: %s", exc, line.strip())
            self.close()

    def _rotate(self, coming: int) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size + coming <= MAX_BYTES:
            return
        self.close()
        for number in range(KEPT, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            if newer.exists():
                newer.replace(older)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _plain(value: object) -> Any:
    """As JSON can say it, and not endlessly."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in list(value)[:100]]
    return str(value)[:MAX_FIELD_CHARS]


def read_journal(path: Path, last: int) -> list[dict[str, Any]]:
    """The last entries, oldest first. A line that a crash cut short is left out."""
    entries: list[dict[str, Any]] = []
    for line in _lines(path):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries[-last:] if last > 0 else entries


def _lines(path: Path) -> Iterator[str]:
    files = [path.with_name(f"{path.name}.{number}") for number in range(KEPT, 0, -1)] + [path]
    for file in files:
        try:
            with open(file, encoding="utf-8", errors="replace") as stream:
                yield from stream
        except FileNotFoundError:
            continue
