"""SFTP version 3 in bytes: what the device's file worker and `auxilio cp` both read and write.

Source: draft-ietf-secsh-filexfer-02; extensions from OpenSSH's PROTOCOL, section 4, and two of ours (see Extension).
A packet is a length (u32), a kind (u8), an id (u32, all but INIT and VERSION) and the kind's own fields. Nothing here
knows files: paths are bytes, as on the wire, and whoever reads them bounds and judges them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from protocol.errors import BadMessage
from protocol.sshwire import Reader, string, u32, u64

VERSION_3: Final = 3

MAX_PACKET_BYTES: Final = 256 * 1024
"""As OpenSSH's SFTP_MAX_MSG_LENGTH: a longer packet is refused before it is read."""

MAX_DATA_BYTES: Final = MAX_PACKET_BYTES - 1024
"""Of one READ or WRITE, as OpenSSH's server offers by limits@openssh.com."""

MAX_PATH_BYTES: Final = 4096
"""PATH_MAX of Linux, its NUL included."""

MAX_HANDLE_BYTES: Final = 256  # the draft's
MAX_NAMES: Final = 1024
"""Entries of one NAME packet that a client takes; OpenSSH's server sends 100."""

HASH_CHUNK_BYTES: Final = 1024 * 1024
MAX_HASH_CHUNKS: Final = 4096
MAX_EXTENTS: Final = 4096


class Kind:
    """Packet kinds."""

    INIT: Final = 1
    VERSION: Final = 2
    OPEN: Final = 3
    CLOSE: Final = 4
    READ: Final = 5
    WRITE: Final = 6
    LSTAT: Final = 7
    FSTAT: Final = 8
    SETSTAT: Final = 9
    FSETSTAT: Final = 10
    OPENDIR: Final = 11
    READDIR: Final = 12
    REMOVE: Final = 13
    MKDIR: Final = 14
    RMDIR: Final = 15
    REALPATH: Final = 16
    STAT: Final = 17
    RENAME: Final = 18
    READLINK: Final = 19
    SYMLINK: Final = 20
    STATUS: Final = 101
    HANDLE: Final = 102
    DATA: Final = 103
    NAME: Final = 104
    ATTRS: Final = 105
    EXTENDED: Final = 200
    EXTENDED_REPLY: Final = 201


class Status:
    """Codes of a STATUS packet."""

    OK: Final = 0
    EOF: Final = 1
    NO_SUCH_FILE: Final = 2
    PERMISSION_DENIED: Final = 3
    FAILURE: Final = 4
    BAD_MESSAGE: Final = 5
    NO_CONNECTION: Final = 6
    CONNECTION_LOST: Final = 7
    OP_UNSUPPORTED: Final = 8


class Extension:
    """Names of EXTENDED requests. All but the last two are OpenSSH's, with its fields.

    HASH: handle (string), offset (u64), length (u64). Reply: the SHA-256 (32 bytes each, one after the other) of each
    HASH_CHUNK_BYTES of that range, at most MAX_HASH_CHUNKS. A range past the file's end ends with it, so the last chunk
    may be short.
    EXTENTS: handle (string), offset (u64). Reply: count (u32), then offset (u64) and length (u64) of each run of the
    file that is no hole, at or after `offset`, ascending, at most MAX_EXTENTS; fewer means that these are all.
    """

    POSIX_RENAME: Final = b"posix-rename@openssh.com"
    STATVFS: Final = b"statvfs@openssh.com"
    FSTATVFS: Final = b"fstatvfs@openssh.com"
    HARDLINK: Final = b"hardlink@openssh.com"
    FSYNC: Final = b"fsync@openssh.com"
    LSETSTAT: Final = b"lsetstat@openssh.com"
    LIMITS: Final = b"limits@openssh.com"
    EXPAND_PATH: Final = b"expand-path@openssh.com"
    HASH: Final = b"hash@auxilio"
    EXTENTS: Final = b"extents@auxilio"


class OpenFlag:
    """Bits of an OPEN packet."""

    READ: Final = 0x01
    WRITE: Final = 0x02
    APPEND: Final = 0x04
    CREATE: Final = 0x08
    TRUNCATE: Final = 0x10
    EXCLUSIVE: Final = 0x20
    ALL: Final = 0x3F


_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 0x1, 0x2, 0x4, 0x8, 0x80000000
MAX_EXTENDED_ATTRIBUTES = 16


class Attributes(NamedTuple):
    """A file's attributes; None where the packet does not say. size: bytes. mode: st_mode, its type included where a
    server says it.  atime, mtime: Unix seconds, unsigned, until 2106: version 3 has no others."""

    size: int | None = None
    uid: int | None = None
    gid: int | None = None
    mode: int | None = None
    atime: int | None = None
    mtime: int | None = None

    def encoded(self) -> bytes:
        """uid and gid, and atime and mtime, are sent in pairs, where both are there."""
        flags, fields = 0, b""
        if self.size is not None:
            flags, fields = flags | _SIZE, fields + u64(self.size)
        if self.uid is not None and self.gid is not None:
            flags, fields = flags | _OWNER, fields + u32(self.uid) + u32(self.gid)
        if self.mode is not None:
            flags, fields = flags | _MODE, fields + u32(self.mode)
        if self.atime is not None and self.mtime is not None:
            flags, fields = flags | _TIMES, fields + u32(self.atime) + u32(self.mtime)
        return u32(flags) + fields


def read_attributes(reader: Reader) -> Attributes:
    """Raises BadMessage."""
    flags = reader.u32()
    if flags & ~(_SIZE | _OWNER | _MODE | _TIMES | _EXTENDED):
        raise BadMessage("file attributes of another version")
    size = reader.u64() if flags & _SIZE else None
    uid, gid = (reader.u32(), reader.u32()) if flags & _OWNER else (None, None)
    mode = reader.u32() if flags & _MODE else None
    atime, mtime = (reader.u32(), reader.u32()) if flags & _TIMES else (None, None)
    if flags & _EXTENDED:
        count = reader.u32()
        if count > MAX_EXTENDED_ATTRIBUTES:
            raise BadMessage("too many extended attributes")
        for _ in range(2 * count):
            reader.string()
    return Attributes(size, uid, gid, mode, atime, mtime)


class Entry(NamedTuple):
    """One of a NAME packet: a file name or a path, as the server's bytes. longname: as of `ls -l`."""

    name: bytes
    longname: bytes
    attributes: Attributes


def read_names(reader: Reader) -> list[Entry]:
    """The body of a NAME packet. The names are whatever the other side likes: judge them. Raises BadMessage."""
    count = reader.u32()
    if count > MAX_NAMES:
        raise BadMessage(f"{count} names at once, where {MAX_NAMES} is the most")
    entries = []
    for _ in range(count):
        name, longname = reader.string(MAX_PATH_BYTES), reader.string(MAX_PATH_BYTES + 256)
        entries.append(Entry(name, longname, read_attributes(reader)))
    reader.done()
    return entries


def encode_names(entries: list[Entry]) -> bytes:
    parts = [u32(len(entries))]
    for name, longname, attributes in entries:
        parts += (string(name), string(longname), attributes.encoded())
    return b"".join(parts)


def read_status(reader: Reader) -> tuple[int, str]:
    """Code and message, at most 1,000 characters of it: not yet fit for a terminal. Raises BadMessage."""
    code = reader.u32()
    # Servers of version 3 may leave message and language out.
    message = reader.string().decode("utf-8", "replace")[:1000] if reader.remaining else ""
    return code, message


_HEAD = struct.Struct(">IBI")


def packet(kind: int, number: int, *fields: bytes | memoryview) -> bytes:
    """A whole packet, its length first. number: the request's id, or of INIT and VERSION the version."""
    return b"".join((_HEAD.pack(5 + sum(map(len, fields)), kind, number), *fields))


class Packet(NamedTuple):
    """number: the request's id, or the version of INIT and VERSION.  body: the kind's fields."""

    kind: int
    number: int
    body: bytes


class Packets:
    """Cuts a stream of bytes into packets. Holds at most one packet and what was fed last."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that `data` completes. Exhaust it before the next call.

        Raises BadMessage for a length that no packet has; nothing can be read from the stream after it.
        """
        self._buffer += data
        buffer, at = self._buffer, 0
        try:
            while len(buffer) - at >= 4:
                length = int.from_bytes(buffer[at : at + 4], "big")
                if not 5 <= length <= MAX_PACKET_BYTES:
                    raise BadMessage(f"an SFTP packet of {length} bytes", code="bad_packet")
                if len(buffer) - at < 4 + length:
                    return
                _, kind, number = _HEAD.unpack_from(buffer, at)
                body = bytes(memoryview(buffer)[at + 9 : at + 4 + length])
                at += 4 + length
                yield Packet(kind, number, body)
        finally:
            del buffer[:at]

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not complete."""
        return len(self._buffer)
