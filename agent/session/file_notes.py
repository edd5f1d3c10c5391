"""What a session's file workers are asked, for the device's log: the customer reads which files were taken and left.

A worker writes a line before it serves a request; it waits where we do not read. A copy of a folder is one request for
each file, so a session names some hundreds, and counts the rest at its end.
"""

from __future__ import annotations

import asyncio
import os

from agent.session.journal import Journal
from protocol.text import escape

MAX_NAMED = 500
"""Entries of one session: a folder of that many files is named in full."""

MAX_UNFINISHED_BYTES = 8192
"""Of a note without an end: two of the longest. A worker is the account's own process, and may be meddled with."""

READ_BYTES = 64 * 1024
OPERATIONS = frozenset({"read", "write", "attributes", "mkdir", "remove", "rename"})


class FileNotes:
    """Of one session. `follow` a worker's notes until it ends; `close` writes the count of those not named."""

    def __init__(self, session: str, journal: Journal) -> None:
        self._session = session
        self._journal = journal
        self._named = 0
        self._unnamed = 0
        self._last: tuple[str, str] | None = None
        self._followed: dict[int, bytearray] = {}

    def follow(self, fd: int) -> None:
        """fd: becomes ours to close."""
        os.set_blocking(fd, False)
        self._followed[fd] = bytearray()
        asyncio.get_running_loop().add_reader(fd, self._on_readable, fd)

    def _on_readable(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        pending = self._followed[fd]
        pending += data
        *notes, rest = bytes(pending).split(b"\0")
        for note in notes:
            self._take(note)
        pending[:] = rest[:MAX_UNFINISHED_BYTES]
        if not data:
            self._forget(fd)

    def _take(self, note: bytes) -> None:
        what, _, path = note.decode("utf-8", "backslashreplace").partition(" ")
        if what not in OPERATIONS or (what, path) == self._last:
            return  # a file that is read in one go may be opened twice
        self._last = (what, path)
        if self._named >= MAX_NAMED:
            self._unnamed += 1
            return
        self._named += 1
        self._journal.record("file", session=self._session, operation=what, path=escape(path))

    def _forget(self, fd: int) -> None:
        if self._followed.pop(fd, None) is not None:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)

    def close(self) -> None:
        """Take what is there, and end."""
        for fd in list(self._followed):
            self._on_readable(fd)
            self._forget(fd)
        if self._unnamed:
            self._journal.record("files_more", session=self._session, count=self._unnamed)
            self._unnamed = 0
