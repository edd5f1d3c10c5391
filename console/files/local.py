"""This machine's files, as a hostile device may have them named: below a folder that the person chose, nowhere else.

    the person's own path --> Folder (a descriptor) --> one component at a time, no link followed --> file

No path of the device's making is ever handed to the system: each name was judged (names.fault_of), and each step is
relative to the descriptor of the folder that it is in. So a link that lies in the way, made by whomever, is an error.
Windows has no such descriptors; there paths are joined, of names judged by its rules, and each folder is looked at.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from types import TracebackType
from typing import Any, Self, TypeVar

from console.files.names import part_name
from console.files.plan import CHUNK, MAX_RUNS, Run, chunk_bounds, empty_digest, pieces
from console.files.remote import Changed
from protocol.errors import Refused
from protocol.sftp import Attributes
from protocol.units import size_text

T = TypeVar("T")

WINDOWS = os.name == "nt"
BY_DESCRIPTOR = os.open in os.supports_dir_fd

_BINARY = getattr(os, "O_BINARY", 0)
_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_NON_BLOCKING = getattr(os, "O_NONBLOCK", 0)  # what turned into a FIFO must not hold us up
_SAFE = _BINARY | _CLOSE_ON_EXEC | _NO_FOLLOW | _NON_BLOCKING

MODE_BITS = 0o777
"""Of a copy: no setuid, setgid or sticky bit comes from a device."""

MAX_TIME = 2**32 - 1

SPARE_BYTES = 16 * 1024 * 1024
"""Left free on our disk, whatever a device says that a file needs."""


async def off_loop(work: Callable[..., T], *arguments: Any) -> T:
    """Run `work` in a thread. Cancelled, it still waits for the thread: its descriptors are about to be closed."""
    future = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        future.exception()
        raise


class Folder:
    """A folder that is held open. Names given to it are single components that were judged."""

    def __init__(self, path: bytes, fd: int | None) -> None:
        self.path = path  # for messages, and for Windows
        self._fd = fd

    @classmethod
    def open(cls, path: bytes) -> Self:
        """path: the person's own, so links in it are theirs and followed. Raises OSError."""
        if not BY_DESCRIPTOR:
            os.listdir(path)
            return cls(path, None)
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | _CLOSE_ON_EXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _at(self, name: bytes) -> tuple[bytes, dict[str, Any]]:
        """What to hand to a function of os: a path, and the descriptor that it is relative to."""
        return (os.path.join(self.path, name), {}) if self._fd is None else (name, {"dir_fd": self._fd})

    def child(self, name: bytes) -> Folder:
        """Raises OSError: ELOOP or ENOTDIR for a link."""
        path, at = self._at(name)
        whole = os.path.join(self.path, name)
        if self._fd is None:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), whole)
            return Folder(whole, None)
        return Folder(whole, os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW | _CLOSE_ON_EXEC, **at))

    def descend(self, trail: Iterable[bytes]) -> Folder:
        """The folder at the end of `trail`, a new one also where that is empty."""
        folder = Folder(self.path, None if self._fd is None else os.dup(self._fd))
        for name in trail:
            with folder:
                folder = folder.child(name)
        return folder

    # -- names --------------------------------------------------------------------------------------------------------

    def status(self, name: bytes) -> os.stat_result | None:
        """Of the thing itself, if a link then of the link; None where there is nothing."""
        path, at = self._at(name)
        try:
            return os.stat(path, follow_symlinks=False, **at)
        except FileNotFoundError:
            return None

    def names(self) -> list[bytes]:
        return [os.fsencode(name) for name in os.listdir(self.path if self._fd is None else self._fd)]

    def make_folder(self, name: bytes) -> bool:
        """Whether it was made; False where a folder is there. Its owner's alone until it is filled."""
        path, at = self._at(name)
        try:
            os.mkdir(path, 0o700, **at)
            return True
        except FileExistsError:
            self.child(name).close()
            return False

    def set_folder_attributes(self, name: bytes, attributes: Attributes) -> None:
        with self.child(name) as folder:
            target = folder.path if folder._fd is None else folder._fd
            if attributes.mode is not None and not WINDOWS:
                os.chmod(target, attributes.mode & MODE_BITS)
            if attributes.atime is not None and attributes.mtime is not None:
                with suppress(*((PermissionError,) if WINDOWS else ())):
                    os.utime(target, (attributes.atime, attributes.mtime))

    def read_link(self, name: bytes) -> bytes:
        path, at = self._at(name)
        return os.fsencode(os.readlink(path, **at))

    def make_link(self, target: bytes, name: bytes) -> None:
        """A symbolic link in the place of what was there."""
        part = part_name(name)
        self.remove(part)
        path, at = self._at(part)
        os.symlink(target, path, **at)
        self.rename(part, name)

    def remove(self, name: bytes) -> None:
        path, at = self._at(name)
        with suppress(FileNotFoundError):
            os.unlink(path, **at)

    def rename(self, old: bytes, new: bytes) -> None:
        """In the place of what was there, at once."""
        (old_path, at), (new_path, _) = self._at(old), self._at(new)
        directories = {"src_dir_fd": self._fd, "dst_dir_fd": self._fd} if at else {}
        os.replace(old_path, new_path, **directories)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.path if self._fd is None else self._fd).free

    # -- files --------------------------------------------------------------------------------------------------------

    def open_to_read(self, name: bytes, *, follow: bool = False) -> int:
        """A regular file. follow: its name is the person's own. Raises OSError, Refused for what is no file."""
        path, at = self._at(name)
        flags = os.O_RDONLY | (_SAFE & ~_NO_FOLLOW if follow else _SAFE)
        fd = os.open(path, flags, **at)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Refused("it is no regular file", code="not_a_file")
        return fd

    def open_part(self, name: bytes) -> Part:
        """What an earlier try left of `name`, or a new file. Raises Refused (busy) while another copy writes it."""
        part = part_name(name)
        path, at = self._at(part)
        flags = os.O_RDWR | os.O_CREAT | _SAFE
        try:
            fd = os.open(path, flags, 0o600, **at)
        except OSError as exc:
            if exc.errno not in (errno.ELOOP, errno.ENXIO, errno.EACCES):
                raise
            self.remove(part)
            fd = os.open(path, flags | os.O_EXCL, 0o600, **at)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or not _is_ours(status):
            os.close(fd)  # whoever put it there may hold it open, or have another name for it
            self.remove(part)
            fd = os.open(path, flags | os.O_EXCL, 0o600, **at)
        try:
            _lock(fd)
            there = self.status(part)
            if there is None or not os.path.samestat(there, os.fstat(fd)):
                raise _busy()  # it was finished between our opening and our locking it
        except BaseException:
            os.close(fd)
            raise
        return Part(self, name, fd)


def _is_ours(status: os.stat_result) -> bool:
    return WINDOWS or status.st_uid == os.geteuid()


def _lock(fd: int) -> None:
    if hasattr(os, "lockf"):
        try:
            os.lockf(fd, os.F_TLOCK, 0)
        except OSError as exc:
            if exc.errno in (errno.EACCES, errno.EAGAIN):
                raise _busy() from exc
            if exc.errno not in (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP):  # a file system without locks
                raise


def _busy() -> Refused:
    return Refused("another copy is writing the same file", code="busy", hint="Wait for it to end.")


class Part:
    """A file that is being received, under the name of an unfinished one.

    size: bytes that were there, or that room was made for; none for a file of one chunk.
    """

    def __init__(self, folder: Folder, name: bytes, fd: int) -> None:
        self._folder, self._name, self.fd = folder, name, fd
        status = os.fstat(fd)
        self.size = status.st_size
        self._allocated = getattr(status, "st_blocks", 0) * 512

    def check_room(self, wanted: int) -> None:
        """wanted: bytes of data that the file will hold. Raises Refused (no_room) where the disk cannot take them."""
        wanted -= self._allocated
        free = self._folder.free_bytes() - SPARE_BYTES
        if wanted > max(free, 0):
            raise Refused(f"it needs {size_text(wanted)}, and {size_text(max(free, 0))} are free here", code="no_room")

    def set_size(self, size: int) -> None:
        if self.size != size:
            os.truncate(self.fd, size)
            self.size = size

    def write_chunk(self, start: int, end: int, data: Sequence[tuple[int, bytes]]) -> bytes:
        """Write `data`, (offset, bytes), all of it between `start` and `end`; the SHA-256 of what is there then."""
        for offset, piece in data:
            _write_at(self.fd, piece, offset)
        if len(data) == 1 and len(data[0][1]) == end - start <= CHUNK // 8:
            return sha256(data[0][1]).digest()  # of a small file; a read more would cost as much as all the rest
        return sha256(_read_at(self.fd, end - start, start)).digest()

    def finish(self, attributes: Attributes, *, sync: bool) -> None:
        """Give it its mode, times and name. sync: onto the disk first."""
        mode, atime, mtime = attributes.mode, attributes.atime, attributes.mtime
        part, at = self._folder._at(part_name(self._name))
        if hasattr(os, "fchmod"):
            os.fchmod(self.fd, 0o600 if mode is None else mode & MODE_BITS)
        times = (atime or 0, mtime) if mtime is not None else None
        if times is not None and os.utime in os.supports_fd:
            os.utime(self.fd, times)
        if sync:
            os.fsync(self.fd)
        self.close()
        if times is not None and os.utime not in os.supports_fd:
            os.utime(part, times, **at)
        self._folder.rename(part_name(self._name), self._name)

    def discard_if_small(self) -> None:
        """After a failure, of what is not worth going on with; while it is open, and so ours."""
        if not self.size:
            self._folder.remove(part_name(self._name))

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


# -- bytes ------------------------------------------------------------------------------------------------------------

_seeking = threading.Lock()


def _read_at(fd: int, length: int, offset: int) -> bytes:
    """Fewer only at the end of the file."""
    if not hasattr(os, "pread"):
        with _seeking:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, length)
    data = os.pread(fd, length, offset)
    while 0 < len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
        data += more
    return data


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        if hasattr(os, "pwrite"):
            written = os.pwrite(fd, view, offset)
        else:
            with _seeking:
                os.lseek(fd, offset, os.SEEK_SET)
                written = os.write(fd, view)
        view, offset = view[written:], offset + written


def read_exactly(fd: int, start: int, end: int) -> bytes:
    """Raises Changed where the file ends before."""
    data = _read_at(fd, end - start, start)
    if len(data) != end - start:
        raise Changed("it became shorter while it was copied")
    return data


def data_runs(fd: int, start: int, end: int) -> list[Run]:
    """What is no hole between `start` and `end`; all of it where the system cannot tell."""
    runs: list[Run] = []
    if not hasattr(os, "SEEK_DATA"):
        return [Run(start, end)] if start < end else []
    while start < end and len(runs) < MAX_RUNS:
        try:
            first = os.lseek(fd, start, os.SEEK_DATA)
            stop = min(os.lseek(fd, first, os.SEEK_HOLE), end) if first < end else first
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # only a hole is left
                return runs
            if exc.errno != errno.EINVAL:
                raise
            first, stop = start, end
        if first >= end:
            return runs
        runs.append(Run(first, stop))
        start = stop
    if start < end:
        runs.append(Run(start, end))
    return runs


def digests(fd: int, first: int, last: int, size: int) -> list[bytes]:
    """SHA-256 of the chunks from `first` up to `last` of a file of `size` bytes, as far as it goes. Skips holes."""
    size = min(size, os.fstat(fd).st_size)
    runs = data_runs(fd, first * CHUNK, min(last * CHUNK, size))
    found: list[bytes] = []
    for index in range(first, last):
        start, end = chunk_bounds(index, size)
        if start >= end:
            break
        is_hole = not pieces(runs, start, end)
        found.append(empty_digest(index, size) if is_hole else sha256(_read_at(fd, end - start, start)).digest())
    return found


def attributes_of(status: os.stat_result) -> Attributes:
    """As version 3 says them: whole seconds, between 1970 and 2106."""
    atime, mtime = (min(max(int(t), 0), MAX_TIME) for t in (status.st_atime, status.st_mtime))
    return Attributes(size=status.st_size, mode=status.st_mode, atime=atime, mtime=mtime)
