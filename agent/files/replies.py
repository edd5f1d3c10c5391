"""What a request holds and what a reply says, between the server and the bytes of protocol.sftp."""

from __future__ import annotations

import errno
import os

from agent.files.handles import entry
from protocol.sftp import (
    MAX_HANDLE_BYTES,
    MAX_PATH_BYTES,
    Attributes,
    Entry,
    Extension,
    Kind,
    OpenFlag,
    Status,
    encode_names,
)
from protocol.sshwire import Reader, string, u32, u64

STATUS_OF = {
    errno.ENOENT: Status.NO_SUCH_FILE,
    errno.ENOTDIR: Status.NO_SUCH_FILE,
    errno.ELOOP: Status.NO_SUCH_FILE,
    errno.EACCES: Status.PERMISSION_DENIED,
    errno.EPERM: Status.PERMISSION_DENIED,
    errno.EROFS: Status.PERMISSION_DENIED,
    errno.EXDEV: Status.PERMISSION_DENIED,
    errno.EBADF: Status.FAILURE,
    errno.ENOSYS: Status.OP_UNSUPPORTED,
}

OFFERED = (
    (Extension.POSIX_RENAME, b"1"),
    (Extension.STATVFS, b"2"),
    (Extension.FSTATVFS, b"2"),
    (Extension.HARDLINK, b"1"),
    (Extension.FSYNC, b"1"),
    (Extension.LSETSTAT, b"1"),
    (Extension.LIMITS, b"1"),
    (Extension.EXPAND_PATH, b"1"),
    (Extension.HASH, b"1"),
    (Extension.EXTENTS, b"1"),
)

Reply = tuple[int, bytes]
"""A packet's kind and fields."""

OK: Reply = (Kind.STATUS, u32(Status.OK) + string(b"") + string(b""))
ENDED: Reply = (Kind.STATUS, u32(Status.EOF) + string(b"end") + string(b""))


def refusal(code: int, message: str) -> Reply:
    return Kind.STATUS, u32(code) + string(message.encode("utf-8", "replace")) + string(b"en")


def read_path(reader: Reader) -> bytes:
    return reader.string(MAX_PATH_BYTES)


def read_only_path(reader: Reader) -> bytes:
    path = reader.string(MAX_PATH_BYTES)
    reader.done()
    return path


def read_only_handle(reader: Reader) -> bytes:
    handle = reader.string(MAX_HANDLE_BYTES)
    reader.done()
    return handle


def handle_reply(handle: bytes) -> Reply:
    return Kind.HANDLE, string(handle)


def name_reply(path: bytes) -> Reply:
    return Kind.NAME, encode_names([Entry(path, entry(path, None).longname, Attributes())])


def open_flags(asked: int) -> int:
    reads, writes = asked & OpenFlag.READ, asked & OpenFlag.WRITE
    flags = os.O_RDWR if reads and writes else os.O_WRONLY if writes else os.O_RDONLY
    for bit, flag in (
        (OpenFlag.APPEND, os.O_APPEND),
        (OpenFlag.CREATE, os.O_CREAT),
        (OpenFlag.TRUNCATE, os.O_TRUNC),
        (OpenFlag.EXCLUSIVE, os.O_EXCL),
    ):
        flags |= flag if asked & bit else 0
    return flags


def file_system_reply(fd: int) -> Reply:
    v = os.fstatvfs(fd)
    flags = v.f_flag & (os.ST_RDONLY | os.ST_NOSUID)  # 1 and 2, as OpenSSH has them
    numbers = (v.f_bsize, v.f_frsize, v.f_blocks, v.f_bfree, v.f_bavail, v.f_files, v.f_ffree, v.f_favail, v.f_fsid)
    return Kind.EXTENDED_REPLY, b"".join(u64(n & (2**64 - 1)) for n in (*numbers, flags, v.f_namemax))
