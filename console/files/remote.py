"""The device's files, by requests that say what is meant. What comes back is bounded and checked before it is used."""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256

from console.files.client import Budget, Client, SftpFailure, done, reply_of
from console.files.plan import CHUNK, MAX_RUNS, PIECE_BYTES, Run, checked_runs, chunk_bounds
from protocol.errors import BadMessage, Refused
from protocol.sftp import (
    MAX_DATA_BYTES,
    MAX_EXTENTS,
    MAX_HANDLE_BYTES,
    MAX_PACKET_BYTES,
    MAX_PATH_BYTES,
    Attributes,
    Entry,
    Extension,
    Kind,
    OpenFlag,
    Packet,
    Status,
    read_attributes,
    read_names,
)
from protocol.sshwire import Reader, string, u32, u64

SMALLEST_LIMIT = 32 * 1024
"""Of data that every server takes (the draft, section 3); what says less is lying."""

MAX_SHORT_READS = 64
"""Of one piece: a server may answer a READ with less, but not with a byte at a time for ever."""

HASHES_AT_ONCE = 256
"""Chunks in one request: the device is at it for less than a second, and files behind it in the queue wait."""


Digest = Callable[[], Awaitable[bytes]]
"""Asked for already, or to be asked for; call and await it. b"" where the file ends before."""


class Changed(Refused):
    """The file is not what it was a moment ago."""

    code = "changed"


class Handle:
    """Of an open file or folder. Closed once: servers give the same bytes to the next one."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.is_open = True


class Remote:
    """verify: read back what the device cannot hash for us."""

    def __init__(self, client: Client, *, verify: bool = False) -> None:
        self.client = client
        self.budget = Budget()
        self.read_bytes = self.write_bytes = SMALLEST_LIMIT
        self.max_handles: int | None = None
        self._hashes = Extension.HASH in client.extensions
        self._extents = Extension.EXTENTS in client.extensions
        self.verifies = self._hashes or verify

    async def begin(self) -> None:
        """Learn the device's limits."""
        if Extension.LIMITS not in self.client.extensions:
            return
        reader = await reply_of(Kind.EXTENDED_REPLY, self._extended(Extension.LIMITS))
        _, read_bytes, write_bytes, handles = (reader.u64() for _ in range(4))
        # 0 is "no limit told".
        self.read_bytes = max(SMALLEST_LIMIT, min(read_bytes or PIECE_BYTES, PIECE_BYTES, MAX_DATA_BYTES))
        self.write_bytes = max(SMALLEST_LIMIT, min(write_bytes or PIECE_BYTES, PIECE_BYTES, MAX_DATA_BYTES))
        self.max_handles = handles or None

    def _extended(self, name: bytes, *fields: bytes) -> Awaitable[Packet]:
        return self.client.ask(Kind.EXTENDED, string(name), *fields)

    @property
    def knows_hashes(self) -> bool:
        return self._hashes

    # -- names --------------------------------------------------------------------------------------------------------

    async def attributes(self, path: bytes, *, follow: bool) -> Attributes:
        return await _attributes(self.client.ask(Kind.STAT if follow else Kind.LSTAT, string(path)))

    async def attributes_if_there(self, path: bytes, *, follow: bool = False) -> Attributes | None:
        try:
            return await self.attributes(path, follow=follow)
        except SftpFailure as exc:
            if exc.status == Status.NO_SUCH_FILE:
                return None
            raise

    async def real(self, path: bytes) -> bytes:
        return await self._one_name(Kind.REALPATH, path)

    async def read_link(self, path: bytes) -> bytes:
        return await self._one_name(Kind.READLINK, path)

    async def _one_name(self, kind: int, path: bytes) -> bytes:
        names = read_names(await reply_of(Kind.NAME, self.client.ask(kind, string(path))))
        if len(names) != 1:
            raise BadMessage("the device breaks SFTP: not one name where one is due", code="wrong_reply")
        return names[0].name

    async def pages(self, path: bytes) -> AsyncGenerator[list[Entry], None]:
        """A folder's entries as the device says them. It may never end: whoever asks counts."""
        handle = await _handle(self.client.ask(Kind.OPENDIR, string(path)))
        try:
            while True:
                try:
                    reader = await reply_of(Kind.NAME, self.client.ask(Kind.READDIR, string(handle.raw)))
                except SftpFailure as exc:
                    if exc.status == Status.EOF:
                        return
                    raise
                yield read_names(reader)
        finally:
            self.forget(handle)

    async def make_folder(self, path: bytes) -> bool:
        """Whether it was made; False where there is one already. It is its owner's alone for now."""
        try:
            await done(self.client.ask(Kind.MKDIR, string(path), Attributes(mode=0o700).encoded()))
            return True
        except SftpFailure as exc:
            found = await self.attributes_if_there(path, follow=True)
            if found is None or not is_folder(found):
                raise SftpFailure(exc.status, "what is there is no folder" if found else exc.message) from exc
            return False

    async def set_attributes(self, path: bytes, attributes: Attributes) -> None:
        await done(self.client.ask(Kind.SETSTAT, string(path), attributes.encoded()))

    async def make_link(self, target: bytes, path: bytes) -> None:
        # In OpenSSH's order of fields, which is not the draft's (its PROTOCOL, section 4.1).
        await done(self.client.ask(Kind.SYMLINK, string(target), string(path)))

    async def rename(self, old: bytes, new: bytes) -> None:
        """Put `old` in the place of `new`: at once where the device knows how."""
        if Extension.POSIX_RENAME in self.client.extensions:
            await done(self._extended(Extension.POSIX_RENAME, string(old), string(new)))
            return
        with suppress(SftpFailure):
            await done(self.client.ask(Kind.REMOVE, string(new)))
        await done(self.client.ask(Kind.RENAME, string(old), string(new)))

    async def remove(self, path: bytes) -> None:
        await done(self.client.ask(Kind.REMOVE, string(path)))

    # -- open files ---------------------------------------------------------------------------------------------------

    async def open(self, path: bytes, flags: int = OpenFlag.READ) -> Handle:
        """A file that is made is its owner's alone until it is whole."""
        return await _handle(self.client.ask(Kind.OPEN, string(path), u32(flags), Attributes(mode=0o600).encoded()))

    def forget(self, handle: Handle) -> None:
        """Close what is open yet, without waiting for the answer; also after the conversation's end."""
        if handle.is_open and not self.client.lost:
            self.ask_close(handle)

    def ask_attributes_of(self, handle: Handle) -> Callable[[], Awaitable[Attributes]]:
        """Asked for now; call and await the result."""
        return partial(_attributes, self.client.ask(Kind.FSTAT, string(handle.raw)))

    def ask_set_attributes_of(self, handle: Handle, attributes: Attributes) -> Awaitable[Packet]:
        return self.client.ask(Kind.FSETSTAT, string(handle.raw), attributes.encoded())

    def ask_close(self, handle: Handle, *, sync: bool = False) -> list[Awaitable[Packet]]:
        """sync: onto the disk first, where the device knows how."""
        asked: list[Awaitable[Packet]] = []
        if sync and Extension.FSYNC in self.client.extensions:
            asked.append(self._extended(Extension.FSYNC, string(handle.raw)))
        handle.is_open = False
        return [*asked, self.client.ask(Kind.CLOSE, string(handle.raw))]

    def ask_write(self, handle: Handle, offset: int, data: bytes | memoryview) -> Awaitable[Packet]:
        """data: at most write_bytes. To be finished by client.done."""
        return self.client.ask(Kind.WRITE, string(handle.raw), u64(offset), u32(len(data)), data)

    def ask_read(self, handle: Handle, offset: int, length: int) -> Awaitable[Packet]:
        """length: at most read_bytes. To be finished by `data`."""
        return self.client.ask(Kind.READ, string(handle.raw), u64(offset), u32(length))

    async def data(self, handle: Handle, offset: int, length: int, asked: Awaitable[Packet]) -> bytes:
        """Exactly `length` bytes. Raises Changed where the file ends before, BadMessage where more come."""
        whole = b""
        for _ in range(MAX_SHORT_READS):
            try:
                got = (await reply_of(Kind.DATA, asked)).string(MAX_PACKET_BYTES)
            except SftpFailure as exc:
                if exc.status == Status.EOF:
                    raise Changed("it became shorter while it was copied") from exc
                raise
            if not 0 < len(got) <= length - len(whole):
                raise BadMessage("the device breaks SFTP: not the data that was asked for", code="wrong_length")
            whole = whole + got if whole else got
            if len(whole) == length:
                return whole
            asked = self.ask_read(handle, offset + len(whole), length - len(whole))
        raise BadMessage("the device sends its data in crumbs", code="short_reads")

    # -- comparing ----------------------------------------------------------------------------------------------------

    async def runs(self, handle: Handle, size: int) -> list[Run]:
        """Where the file has data; all of it where the device cannot tell."""
        if not self._extents or size <= CHUNK:
            return [Run(0, size)] if size else []
        runs: list[Run] = []
        at = 0
        while len(runs) < MAX_RUNS:
            reader = await reply_of(Kind.EXTENDED_REPLY, self._extended(Extension.EXTENTS, string(handle.raw), u64(at)))
            extents = read_extents(reader)
            runs += checked_runs(extents, at, size)
            if len(extents) < MAX_EXTENTS:
                return runs
            at = sum(extents[-1])
        runs.append(Run(at, size))
        return runs if at < size else runs[:-1]

    def ask_digest(self, handle: Handle, index: int, size: int) -> Digest | None:
        """The SHA-256 of one chunk as the device has it, after what was written before; None where nobody verifies."""
        start, end = chunk_bounds(index, size)
        if self._hashes:
            asked = self._extended(Extension.HASH, string(handle.raw), u64(start), u64(end - start))
            return partial(_one_digest, asked)
        return partial(self._digest_by_reading, handle, start, end) if self.verifies else None

    async def _digest_by_reading(self, handle: Handle, start: int, end: int) -> bytes:
        digest = sha256()
        for offset in range(start, end, self.read_bytes):
            length = min(self.read_bytes, end - offset)
            digest.update(await self.data(handle, offset, length, self.ask_read(handle, offset, length)))
        return digest.digest()

    async def digests(self, handle: Handle, first: int, last: int, size: int) -> Sequence[bytes]:
        """Of the chunks from `first` up to `last`, at most HASHES_AT_ONCE of them; fewer where the file is shorter."""
        if not self._hashes:
            return [await self._digest_by_reading(handle, *chunk_bounds(index, size)) for index in range(first, last)]
        start, end = first * CHUNK, min(last * CHUNK, size)
        asked = self._extended(Extension.HASH, string(handle.raw), u64(start), u64(end - start))
        reader = await reply_of(Kind.EXTENDED_REPLY, asked)
        if reader.remaining % 32 or reader.remaining > 32 * (last - first):
            raise BadMessage("the device breaks SFTP: hashes of another length", code="bad_hashes")
        return [reader.take(32) for _ in range(reader.remaining // 32)]


async def _handle(asked: Awaitable[Packet]) -> Handle:
    return Handle((await reply_of(Kind.HANDLE, asked)).string(MAX_HANDLE_BYTES))


async def _attributes(asked: Awaitable[Packet]) -> Attributes:
    return read_attributes(await reply_of(Kind.ATTRS, asked))


async def _one_digest(asked: Awaitable[Packet]) -> bytes:
    reader = await reply_of(Kind.EXTENDED_REPLY, asked)
    if reader.remaining not in (0, 32):
        raise BadMessage("the device breaks SFTP: hashes of another length", code="bad_hashes")
    return reader.take(reader.remaining)


def read_extents(reader: Reader) -> list[tuple[int, int]]:
    """Raises BadMessage."""
    count = reader.u32()
    if count > MAX_EXTENTS:
        raise BadMessage(f"{count} runs of data at once, where {MAX_EXTENTS} is the most", code="bad_extents")
    found = [(reader.u64(), reader.u64()) for _ in range(count)]
    reader.done()
    return found


def is_folder(attributes: Attributes) -> bool:
    return attributes.mode is not None and stat.S_ISDIR(attributes.mode)


def is_file(attributes: Attributes) -> bool:
    return attributes.mode is not None and stat.S_ISREG(attributes.mode)


def is_link(attributes: Attributes) -> bool:
    return attributes.mode is not None and stat.S_ISLNK(attributes.mode)


def check_path(path: bytes) -> None:
    """Raises Refused for a path that SFTP's packets do not take."""
    if len(path) >= MAX_PATH_BYTES:
        raise Refused(f"a path of {len(path)} bytes", code="path_too_long")


def announced_size(attributes: Attributes) -> int:
    """Bytes, as the device says. Raises Refused where it says none, or one that no file has."""
    if attributes.size is None or attributes.size >= 2**63:
        raise Refused("the device does not say how long it is", code="no_size")
    return attributes.size
