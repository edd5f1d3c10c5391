"""A small SFTP client for tests that says what no decent client says. It asks and waits, one request at a time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import PIPE, Popen

from agent.files.root import Root
from agent.files.server import Server
from protocol.sftp import (
    MAX_HASH_CHUNKS,
    Attributes,
    Entry,
    Extension,
    Kind,
    OpenFlag,
    Packet,
    Packets,
    Status,
    packet,
    read_attributes,
    read_names,
    read_status,
)
from protocol.sshwire import Reader, string, u32, u64

LAUNCHER = Path("agent/platform/posix_launch.py")


class SftpFailure(Exception):
    """A STATUS that is not OK. code: of protocol.sftp.Status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Sftp:
    def __init__(self, ask: Callable[[bytes], Packet]) -> None:
        """ask: sends a whole packet and returns the reply."""
        self._ask = ask
        version = self._ask(packet(Kind.INIT, 3))
        assert version.kind == Kind.VERSION

    def request(self, kind: int, *fields: bytes) -> Packet:
        reply = self._ask(packet(kind, 7, *fields))
        assert reply.number == 7
        if reply.kind == Kind.STATUS:
            code, message = read_status(Reader(reply.body))
            if code != Status.OK:
                raise SftpFailure(code, message)
        return reply

    def extended(self, name: bytes, *fields: bytes) -> Packet:
        return self.request(Kind.EXTENDED, string(name), *fields)

    def open(self, path: bytes | str, flags: int = OpenFlag.READ, mode: int | None = None) -> bytes:
        reply = self.request(Kind.OPEN, string(path), u32(flags), Attributes(mode=mode).encoded())
        return Reader(reply.body).string()

    def close(self, handle: bytes) -> None:
        self.request(Kind.CLOSE, string(handle))

    def read(self, path: bytes | str, size: int = 65536) -> bytes:
        handle = self.open(path)
        try:
            return Reader(self.request(Kind.READ, string(handle), u64(0), u32(size)).body).string(size)
        except SftpFailure as exc:
            if exc.code == Status.EOF:
                return b""
            raise
        finally:
            self.close(handle)

    def write(self, path: bytes | str, data: bytes, flags: int = OpenFlag.CREATE | OpenFlag.TRUNCATE) -> None:
        handle = self.open(path, flags | OpenFlag.WRITE)
        try:
            self.request(Kind.WRITE, string(handle), u64(0), string(data))
        finally:
            self.close(handle)

    def names(self, path: bytes | str) -> list[Entry]:
        handle = Reader(self.request(Kind.OPENDIR, string(path)).body).string()
        found: list[Entry] = []
        try:
            while True:
                found += read_names(Reader(self.request(Kind.READDIR, string(handle)).body))
        except SftpFailure as exc:
            if exc.code != Status.EOF:
                raise
            return found
        finally:
            self.close(handle)

    def attributes(self, path: bytes | str, kind: int = Kind.STAT) -> Attributes:
        return read_attributes(Reader(self.request(kind, string(path)).body))

    def name_of(self, kind: int, path: bytes | str) -> bytes:
        (found,) = read_names(Reader(self.request(kind, string(path)).body))
        return found.name

    def hashes(self, handle: bytes, offset: int = 0, length: int = MAX_HASH_CHUNKS << 20) -> list[bytes]:
        body = self.extended(Extension.HASH, string(handle), u64(offset), u64(length)).body
        return [body[i : i + 32] for i in range(0, len(body), 32)]


class LocalSftp(Sftp):
    """Served in this process: root is what the client sees. notes: what would be logged."""

    def __init__(self, root: Path, *, home: Path | None = None, writable: bool = True) -> None:
        self.notes: list[tuple[str, bytes]] = []
        folder = Root(os.fsencode(root), os.fsencode(home or root))
        server = Server(folder, writable=writable, note=lambda what, path: self.notes.append((what, path)))
        self.server = server

        def ask(data: bytes) -> Packet:
            (request,) = Packets().feed(data)
            (reply,) = Packets().feed(server.answer(request))
            return reply

        super().__init__(ask)


def worker_command(root: Path, home: Path, notes: int, *, access: str = "rw") -> list[str]:
    """The command line of a real worker, as this account."""
    who = [str(os.getuid()), str(os.getgid()), "-", str(home), "0", "0"]
    return [
        sys.executable,
        "-I",
        "-S",
        str(LAUNCHER.resolve()),
        *who,
        "-",
        "files",
        str(root),
        str(home),
        access,
        str(notes),
    ]


class WorkerSftp(Sftp):
    """A real worker process over pipes, as this account."""

    def __init__(self, root: Path, home: Path, *, prefix: Sequence[str] = ()) -> None:
        """prefix: of its command line."""
        reading, writing = os.pipe()
        self.notes = reading
        self.process = Popen(
            [*prefix, *worker_command(root, home, writing)], stdin=PIPE, stdout=PIPE, pass_fds=(writing,)
        )
        os.close(writing)
        packets = Packets()

        def ask(data: bytes) -> Packet:
            assert self.process.stdin is not None and self.process.stdout is not None
            self.process.stdin.write(data)
            self.process.stdin.flush()
            while True:
                got = os.read(self.process.stdout.fileno(), 1 << 20)
                assert got, "the worker ended"
                for reply in packets.feed(got):
                    return reply

        super().__init__(ask)

    def end(self) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        status = self.process.wait(60)
        self.process.stdout.close()
        os.close(self.notes)
        return status
