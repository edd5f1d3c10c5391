"""The device's own append-only log: requests, refusals with reasons, sessions, commands, documents.

JSON lines, `at` first, on the disk before the call returns. It rotates by size and keeps a few old files; nothing
else ever removes a line. What a relay can cause without any technician's signature is written at a bounded rate, so
that a hostile one cannot push everything else out; what was left out is counted in the next entry of its kind.
It never raises: a full disk is what somebody may be about to repair.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.state import storage_failed
from protocol.errors import BadMessage

log = logging.getLogger(__name__)

MAX_BYTES = 4 * 1024 * 1024
"""Of one file: some 20,000 entries."""

KEPT = 4
"""Old files besides the current one."""

MAX_FIELD_BYTES = 2_000
"""As it is written: a character may take twelve."""

CAUSED_BY_STRANGERS = frozenset(
    {
        "charter_fork",
        "charter_refused",
        "documents_not_fetched",
        "link_replaced",
        "offer_repeated",
        "offline",
        "online",
        "policy_fork",
        "policy_refused",
        "record_refused",
        "report_abandoned",
        "report_anew",
        "report_delayed",
        "session_refused",
        "session_withdrawn",
    }
)
STRANGERS_BURST = 100.0
STRANGERS_PER_S = 20.0 / 3600
"""Of each kind, some 300 bytes an entry: under attack the log still reaches back for more than a week."""


JOURNAL = "journal.jsonl"
"""In the state directory."""

MAX_LOG_BYTES = 4 * 1024 * 1024
"""Of the log in one answer of the control socket: some 15,000 entries."""


class _Allowance:
    """A token bucket for one kind of event. Times are Unix seconds; a clock that goes back grants nothing."""

    def __init__(self, now: float) -> None:
        self._left, self._at, self.left_out = STRANGERS_BURST, now, 0

    def take(self, now: float) -> bool:
        self._left = min(STRANGERS_BURST, self._left + max(0.0, now - self._at) * STRANGERS_PER_S)
        self._at = now
        if self._left < 1.0:
            self.left_out += 1
            return False
        self._left -= 1.0
        return True


class FileJournal:
    """Writes entries to `path`. now: Unix seconds."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._file: int | None = None
        self._allowances: dict[str, _Allowance] = {}

    def record(self, event: str, **fields: object) -> None:
        """Append an entry and flush it to the disk. Never raises."""
        now = self._now()
        entry: dict[str, object] = {"at": round(now, 3), "event": event}
        if event in CAUSED_BY_STRANGERS:
            allowance = self._allowances.setdefault(event, _Allowance(now))
            if not allowance.take(now):
                return
            if allowance.left_out:
                entry["left_out"], allowance.left_out = allowance.left_out, 0
        entry.update((name, _plain(value)) for name, value in fields.items())
        self._append(json.dumps(entry, ensure_ascii=True, separators=(",", ":")) + "\n")

    def _append(self, line: str) -> None:
        try:
            self._rotate(len(line))
            if self._file is None:
                self._file = _open_at_line_start(self._path)
            written = os.write(self._file, line.encode("ascii"))
            os.fsync(self._file)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as exc:
            log.error("the journal cannot be written: %s; entry: %s", exc.strerror or exc, line.strip())
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


def _open_at_line_start(path: Path) -> int:
    """Open for appending. A line that a crash or a full disk cut short is ended, so that the next one can be read."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.lseek(descriptor, 0, os.SEEK_END):
            os.lseek(descriptor, -1, os.SEEK_END)
            if os.read(descriptor, 1) != b"\n":
                os.write(descriptor, b"\n")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _plain(value: object) -> Any:
    """As JSON can say it, and not endlessly."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in list(value)[:100]]
    text = str(value)[:MAX_FIELD_BYTES]
    while len(written := json.dumps(text)) > MAX_FIELD_BYTES + 2:
        text = text[: max(1, len(text) * MAX_FIELD_BYTES // len(written))]
    return text


def read_journal(path: Path, last: int, *, max_bytes: int | None = None) -> list[dict[str, Any]]:
    """The last entries (0: all of them), oldest first, as far as they fit into `max_bytes` on disk.

    A line that a crash cut short is left out. Raises OSError where the files cannot be read.
    """
    entries: deque[tuple[int, dict[str, Any]]] = deque(maxlen=last or None)
    for line in _lines(path):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            entries.append((len(line), entry))
    if max_bytes is not None:
        size = sum(length for length, _ in entries)
        while entries and size > max_bytes:
            size -= entries.popleft()[0]
    return [entry for _, entry in entries]


def _lines(path: Path) -> Iterator[str]:
    files = [path.with_name(f"{path.name}.{number}") for number in range(KEPT, 0, -1)] + [path]
    for file in files:
        try:
            with open(file, encoding="utf-8", errors="replace") as stream:
                yield from stream
        except FileNotFoundError:
            continue


def last_entries(path: Path, last: str) -> list[dict[str, Any]]:
    """What a command of this device asks for: the last entries, by their number as it came. 0: all.

    Raises BadMessage, or what storage_failed returns.
    """
    if not (last.isascii() and last.isdigit()):
        raise BadMessage("the number of entries is not a number")
    try:
        return read_journal(path, int(last[:9]), max_bytes=MAX_LOG_BYTES)
    except OSError as exc:
        raise storage_failed(path, exc) from exc
