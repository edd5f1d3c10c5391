"""A device's SFTP server that lies: a small tree in memory, and a place to put each lie.

device = EvilDevice({b"top": [named(b"../x")], b"top/a": b"data"})
device.answers[Kind.READ] = lambda request: [packet(Kind.DATA, request.number + 1, string(b"x"))]
tally = await device.get("top", to=folder)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from console.files.copy import Options
from console.files.names import Task
from console.files.tally import Tally
from protocol.sftp import (
    HASH_CHUNK_BYTES,
    Attributes,
    Entry,
    Extension,
    Kind,
    Packet,
    Packets,
    Status,
    encode_names,
    packet,
)
from protocol.sshwire import Reader, string, u32, u64
from tests.support.copying import converse

FILE_MODE, FOLDER_MODE = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
MTIME = 1_600_000_000
EXTENSIONS = (Extension.HASH, Extension.EXTENTS, Extension.POSIX_RENAME)

Answer = Callable[[Packet], Iterable[bytes]]


def file_attributes(size: int, mode: int = FILE_MODE) -> Attributes:
    return Attributes(size=size, uid=0, gid=0, mode=mode, atime=MTIME, mtime=MTIME)


FOLDER = Attributes(size=0, uid=0, gid=0, mode=FOLDER_MODE, atime=MTIME, mtime=MTIME)


def named(name: bytes, attributes: Attributes | None = None) -> Entry:
    return Entry(name, name, attributes or file_attributes(4))


def status(number: int, code: int, message: str = "") -> bytes:
    return packet(Kind.STATUS, number, u32(code), string(message), string(""))


class EvilDevice:
    """tree: path -> a file's bytes, or the entries that a folder lists. answers: kind of request -> what is said
    instead. written: what it was sent, by handle."""

    def __init__(self, tree: dict[bytes, bytes | list[Entry]], extensions: tuple[bytes, ...] = EXTENSIONS) -> None:
        self.tree = tree
        self.extensions = extensions
        self.answers: dict[int, Answer] = {}
        self.extended: dict[bytes, Answer] = {}
        self.asked: list[Packet] = []
        self._handles: dict[bytes, tuple[bytes, list[int]]] = {}

    # -- what a test does ---------------------------------------------------------------------------------------------

    async def get(self, *sources: str, to: Path, tally: Tally | None = None, **options: bool) -> Tally:
        task = Task("device", True, tuple(map(os.fsencode, sources)), os.fsencode(to))
        return await self._copy(task, tally or Tally(), Options(**{"recursive": True, **options}))

    async def put(self, *sources: Path, to: str, tally: Tally | None = None, **options: bool) -> Tally:
        task = Task("device", False, tuple(map(os.fsencode, sources)), os.fsencode(to))
        return await self._copy(task, tally or Tally(), Options(**{"recursive": True, **options}))

    async def _copy(self, task: Task, tally: Tally, options: Options) -> Tally:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            packets = Packets()
            try:
                while data := await reader.read(1 << 18):
                    for request in packets.feed(data):
                        self.asked.append(request)
                        for reply in self.answer(request):
                            writer.write(reply)
                            await writer.drain()
            except (OSError, asyncio.CancelledError):
                pass  # the copy is over, and the test with it
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        try:
            async with asyncio.timeout(60):
                await converse(reader, writer, task, options, tally)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            writer.close()
            server.close()
        return tally

    def said(self, kind: int) -> list[Packet]:
        """Requests of a kind that it got."""
        return [request for request in self.asked if request.kind == kind]

    # -- what it answers ----------------------------------------------------------------------------------------------

    def answer(self, request: Packet) -> Iterable[bytes]:
        if request.kind in self.answers:
            return self.answers[request.kind](request)
        return self.honest(request)

    def honest(self, request: Packet) -> Iterable[bytes]:
        reader, number = Reader(request.body), request.number
        if request.kind == Kind.INIT:
            return [packet(Kind.VERSION, 3, *(string(part) for name in self.extensions for part in (name, b"1")))]
        if request.kind == Kind.EXTENDED:
            name = reader.string()
            return self.extended[name](request) if name in self.extended else self._extended(name, reader, number)
        key = reader.string()
        if request.kind in (Kind.STAT, Kind.LSTAT):
            return [self._attributes(key, number)]
        if request.kind in (Kind.OPEN, Kind.OPENDIR):
            handle = b"h%d" % len(self._handles)
            self._handles[handle] = (key, [0])
            return [packet(Kind.HANDLE, number, string(handle))]
        if request.kind == Kind.FSTAT:
            return [self._attributes(self._handles[key][0], number)]
        if request.kind == Kind.READDIR:
            return [self._listing(key, number)]
        if request.kind == Kind.READ:
            data, offset, length = self._data(key), reader.u64(), reader.u32()
            found = data[offset : offset + length]
            return [packet(Kind.DATA, number, string(found)) if found else status(number, Status.EOF)]
        return [status(number, Status.OK)]

    def _attributes(self, path: bytes, number: int) -> bytes:
        found = self.tree.get(path)
        if found is None:
            return status(number, Status.NO_SUCH_FILE)
        attributes = FOLDER if isinstance(found, list) else file_attributes(len(found))
        return packet(Kind.ATTRS, number, attributes.encoded())

    def _listing(self, handle: bytes, number: int) -> bytes:
        path, at = self._handles[handle]
        entries = self.tree.get(path, [])
        assert isinstance(entries, list)
        page, at[0] = entries[at[0] : at[0] + 100], at[0] + 100
        return packet(Kind.NAME, number, encode_names(page)) if page else status(number, Status.EOF)

    def _data(self, handle: bytes) -> bytes:
        found = self.tree.get(self._handles[handle][0], b"")
        assert isinstance(found, bytes)
        return found

    def _extended(self, name: bytes, reader: Reader, number: int) -> Iterable[bytes]:
        if name == Extension.HASH:
            data, offset, length = self._data(reader.string()), reader.u64(), reader.u64()
            part = data[offset : offset + length]
            chunks = [part[at : at + HASH_CHUNK_BYTES] for at in range(0, len(part), HASH_CHUNK_BYTES)]
            body = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)
            return [packet(Kind.EXTENDED_REPLY, number, body)]
        if name == Extension.EXTENTS:
            size = len(self._data(reader.string()))
            return [packet(Kind.EXTENDED_REPLY, number, u32(1), u64(0), u64(size))]
        return [status(number, Status.OK)]
