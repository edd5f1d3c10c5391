"""Many files and folders at once, in no particular order, with bounds on what a device can make us do.

Folders are looked into first, so that the total is soon known, until enough files wait; then files are copied. What
fails is told and the rest goes on; what nothing can go on after (a lost session, a full disk, a device that breaks the
protocol) ends everything. Folders get their times and modes last, the deepest first, since filling them changes both.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import groupby
from typing import NamedTuple, Protocol

from console.files.many import each, first_of, in_turn
from console.files.tally import Tally
from protocol.errors import AuxilioError, PeerFault, Refused, Unavailable
from protocol.sftp import Attributes

AT_ONCE = 48
"""Files and folders in hand, each with a handle at most: below the 64 that we may ask of a device."""

MAX_ENTRIES = 1_000_000
"""Of one copy. A device can list for ever."""

MAX_DEPTH = 128
"""Folders in folders."""

ENOUGH_WAITING = 10_000
"""Files that are listed and not begun; then listing waits, and memory is bounded."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Top(NamedTuple):
    """One source of the command. source: as it was typed.  under: the names below the target that it goes to; none
    where a folder's content goes into the target itself."""

    source: bytes
    under: tuple[bytes, ...]


class Item(NamedTuple):
    """kind: file, folder or link.  trail: the names from the top to it.  fresh: its folder was just made, so nothing
    is in its place."""

    kind: str
    top: Top
    trail: tuple[bytes, ...]
    attributes: Attributes
    fresh: bool = False


class Direction(Protocol):
    """From the device, or to it."""

    def expand(self, folder: Item) -> AsyncGenerator[list[Item], None]:
        """Make sure of the folder's counterpart, and list it; a page of entries at a time."""

    async def file(self, item: Item) -> None: ...

    async def link(self, item: Item) -> None: ...

    async def dress(self, folder: Item) -> None:
        """Give the counterpart of a folder its mode and times."""

    def shown(self, item: Item) -> str:
        """For a message."""


class Bounds:
    """How much a device may list. Every entry counts, whether it is copied or not."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._most = self._left = most

    def count(self, entries: int) -> None:
        """entries: of one page; the page itself counts, since an endless listing may consist of empty ones."""
        self._left -= entries + 1
        if self._left < 0:
            raise Refused(
                f"more than {self._most:,} files and folders", code="too_many", hint="Copy its folders one by one."
            )


class Work:
    def __init__(self, direction: Direction, tally: Tally, *, at_once: int = AT_ONCE) -> None:
        self._direction = direction
        self._tally = tally
        self._at_once = at_once
        self._files: deque[Item] = deque()
        self._folders: list[Item] = []
        self._expanding = 0
        self._filled: list[Item] = []
        self._wake = asyncio.Event()

    async def run(self, tops: list[Item]) -> None:
        """Copy `tops` and what is below them. Raises what ended it before its end."""
        for top in tops:
            self._add(top)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._at_once):
                    tasks.create_task(self._worker())
        except BaseExceptionGroup as group:
            raise first_of(group) from None
        await self._dress_folders()

    def _add(self, item: Item) -> None:
        if item.kind == "folder":
            self._folders.append(item)
            return
        if item.kind == "file":
            self._tally.expect(item.attributes.size or 0)
        self._files.append(item)

    async def _worker(self) -> None:
        while True:
            if self._folders and len(self._files) < ENOUGH_WAITING:
                await self._folder(self._folders.pop())
            elif self._files:
                await self._one(self._files.popleft())
            elif self._expanding:
                self._wake.clear()
                await self._wake.wait()
            else:
                self._wake.set()
                return

    async def _folder(self, folder: Item) -> None:
        self._expanding += 1
        try:
            async with aclosing(self._direction.expand(folder)) as pages:
                async for page in pages:
                    for item in page:
                        self._add(item)
                    self._wake.set()
                    while len(self._files) >= ENOUGH_WAITING:
                        await self._one(self._files.popleft())
            self._filled.append(folder)
            self._tally.folders += 1
        except (AuxilioError, OSError) as exc:
            self._failed(folder, exc)
        finally:
            self._expanding -= 1
            self._wake.set()

    async def _one(self, item: Item) -> None:
        self._tally.current = self._direction.shown(item)
        try:
            await (self._direction.file(item) if item.kind == "file" else self._direction.link(item))
        except (AuxilioError, OSError) as exc:
            self._failed(item, exc)

    def _failed(self, item: Item, error: AuxilioError | OSError) -> None:
        """Raises it where nothing can go on."""
        if isinstance(error, PeerFault | Unavailable) or getattr(error, "reason", "") == "too_many":
            raise error
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise error
        self._tally.fail(self._direction.shown(item), words_of(error))

    async def _dress_folders(self) -> None:
        async def dress(folder: Item) -> None:
            try:
                await self._direction.dress(folder)
            except (AuxilioError, OSError) as exc:
                self._failed(folder, exc)

        self._filled.sort(key=_depth, reverse=True)
        for _, level in groupby(self._filled, key=_depth):
            await each(in_turn(level), dress, self._at_once)


def _depth(item: Item) -> int:
    return len(item.trail)


def words_of(error: AuxilioError | OSError) -> str:
    if isinstance(error, AuxilioError):
        return error.message
    return os.strerror(error.errno) if error.errno else str(error)
