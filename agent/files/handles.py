"""What a client has open: files and folders, by the handles it was given."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from agent.files.root import failure
from protocol.sftp import HASH_CHUNK_BYTES as CHUNK
from protocol.sftp import MAX_EXTENTS, MAX_HASH_CHUNKS, Attributes, Entry

MAX_HANDLES = 128
MAX_ENTRIES = 200
"""Of one NAME packet: with the longest names still below MAX_PACKET_BYTES."""

MAX_NUMBER = 2**32 - 1


class OpenFile(NamedTuple):
    fd: int
    path: bytes
    writes: bool


class OpenFolder(NamedTuple):
    """entries: of os.scandir, which reads the folder as it is asked; an endless one costs nothing beforehand."""

    fd: int
    path: bytes
    entries: Iterator[os.DirEntry[str]]


class Handles:
    def __init__(self) -> None:
        self._open: dict[bytes, OpenFile | OpenFolder] = {}
        self._next = 0

    def add(self, thing: OpenFile | OpenFolder) -> bytes:
        self._next += 1
        handle = b"%d" % self._next
        self._open[handle] = thing
        return handle

    def check_room(self) -> None:
        """Raises OSError (EMFILE), before anything is opened or made."""
        if len(self._open) >= MAX_HANDLES:
            raise failure(errno.EMFILE)

    def file(self, handle: bytes) -> OpenFile:
        found = self._open.get(handle)
        if not isinstance(found, OpenFile):
            raise failure(errno.EBADF)
        return found

    def folder(self, handle: bytes) -> OpenFolder:
        found = self._open.get(handle)
        if not isinstance(found, OpenFolder):
            raise failure(errno.EBADF)
        return found

    def any(self, handle: bytes) -> OpenFile | OpenFolder:
        found = self._open.get(handle)
        if found is None:
            raise failure(errno.EBADF)
        return found

    def close(self, handle: bytes) -> None:
        found = self._open.pop(handle, None)
        if found is None:
            raise failure(errno.EBADF)
        if isinstance(found, OpenFolder):
            found.entries.close()  # type: ignore[attr-defined]  # of os.scandir's iterator
        os.close(found.fd)


def attributes(status: os.stat_result) -> Attributes:
    """What version 3 can say: times outside of 1970 to 2106 become its ends."""
    atime, mtime = (min(max(int(t), 0), MAX_NUMBER) for t in (status.st_atime, status.st_mtime))
    return Attributes(status.st_size, status.st_uid, status.st_gid, status.st_mode, atime, mtime)


def entry(name: bytes, status: os.stat_result | None) -> Entry:
    """One line of a listing. status: None where it was gone before we looked."""
    if status is None:
        return Entry(name, _printable(name), Attributes())
    when = time.strftime("%b %d %H:%M %Y", time.gmtime(attributes(status).mtime or 0))
    line = f"{stat.filemode(status.st_mode)} {status.st_nlink:>4} {status.st_uid:<8} {status.st_gid:<8} "
    line += f"{status.st_size:>12} {when} "
    return Entry(name, line.encode() + _printable(name), attributes(status))


def _printable(name: bytes) -> bytes:
    """For the part that clients show as it is: no control character, and no byte that is no text."""
    text = name.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in text).encode()


def next_entries(folder: OpenFolder) -> list[Entry]:
    """The next ones, at most MAX_ENTRIES; [] at the end. `.` and `..` are not among them."""
    entries = []
    for found in folder.entries:
        try:
            status = found.stat(follow_symlinks=False)
        except OSError:
            status = None
        entries.append(entry(os.fsencode(found.name), status))
        if len(entries) == MAX_ENTRIES:
            break
    return entries


def next_extent(fd: int, offset: int, end: int) -> tuple[int, int] | None:
    """The first run of data at or after `offset`, as (start, past its end); None where only a hole is left."""
    try:
        start = os.lseek(fd, offset, os.SEEK_DATA)
        return (start, min(os.lseek(fd, start, os.SEEK_HOLE), end)) if start < end else None
    except OSError as exc:
        if exc.errno == errno.ENXIO:
            return None
        if exc.errno == errno.EINVAL:  # a file system that knows no holes
            return (offset, end) if offset < end else None
        raise


def extents(fd: int, offset: int) -> list[tuple[int, int]]:
    """(offset, length) of the runs that are no hole, from `offset` on, at most MAX_EXTENTS."""
    end = os.fstat(fd).st_size
    found: list[tuple[int, int]] = []
    while len(found) < MAX_EXTENTS and (run := next_extent(fd, offset, end)) is not None:
        found.append((run[0], run[1] - run[0]))
        offset = run[1]
    return found


@cache
def _hash_of_hole() -> bytes:
    return sha256(bytes(CHUNK)).digest()


def hashes(fd: int, offset: int, length: int) -> bytes:
    """SHA-256 of each chunk of the range, as far as the file goes, at most MAX_HASH_CHUNKS. Holes are not read."""
    end = min(os.fstat(fd).st_size, offset + min(length, MAX_HASH_CHUNKS * CHUNK))
    buffer, digests = bytearray(max(0, min(CHUNK, end - offset))), []
    data_at = -1
    while offset < end:
        if data_at < offset:
            run = next_extent(fd, offset, end)
            data_at = run[0] if run is not None else end
        size = min(CHUNK, end - offset)
        if data_at >= offset + CHUNK and size == CHUNK:
            digests.append(_hash_of_hole())
        else:
            view = memoryview(buffer)[:size]
            got = os.preadv(fd, [view], offset)
            digests.append(sha256(view[:got]).digest())
            if got < size:
                break  # it was cut meanwhile
            data_at = -1
        offset += size
    return b"".join(digests)
