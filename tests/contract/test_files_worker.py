"""The file worker as a process: with OpenSSH's own client beside it, hashes, holes, full disks, and what is no SFTP."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.sftp import HASH_CHUNK_BYTES, MAX_DATA_BYTES, Attributes, Extension, Kind, OpenFlag, Status, packet
from protocol.sshwire import Reader, string, u32, u64
from tests.support.sftp import SftpFailure, WorkerSftp, worker_command
from tests.support.small_disk import is_possible, small_disk

GIB = 1024**3


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerSftp]:
    client = WorkerSftp(Path("/"), tmp_path)
    yield client
    assert client.end() == 0


def test_openssh_s_client_finds_it_whole(tmp_path: Path) -> None:
    """`sftp -D` runs a server without SSH: what it says of ours is what people will see."""
    (tmp_path / "one").write_text("1\n")
    (tmp_path / "esc\x1b[2Jape").write_text("2\n")
    batch = f"cd {tmp_path}\nln one hard\nln -s one soft\nget -p one {tmp_path}/got\nls -l\ndf -h\nrm hard\n"
    command = ["sftp", "-b", "-", "-D", shlex.join(worker_command(Path("/"), tmp_path, 2))]
    done = subprocess.run(command, input=batch.encode(), capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["esc\x1b[2Jape", "got", "one", "soft"]


def test_hashes_are_those_of_the_chunks(worker: WorkerSftp, tmp_path: Path) -> None:
    data = os.urandom(HASH_CHUNK_BYTES) + bytes(2 * HASH_CHUNK_BYTES) + os.urandom(12345)
    (tmp_path / "file").write_bytes(data)
    expected = [
        hashlib.sha256(data[at : at + HASH_CHUNK_BYTES]).digest() for at in range(0, len(data), HASH_CHUNK_BYTES)
    ]
    handle = worker.open("file")
    assert worker.hashes(handle) == expected
    assert worker.hashes(handle, offset=HASH_CHUNK_BYTES, length=HASH_CHUNK_BYTES) == expected[1:2]
    assert worker.hashes(handle, offset=len(data)) == []
    short = hashlib.sha256(data[:100]).digest()
    assert worker.hashes(handle, length=100) == [short]
    worker.close(handle)


def test_a_sparse_file_says_where_it_has_something(worker: WorkerSftp, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(3 * GIB)
        file.seek(GIB)
        file.write(b"x" * 4096)
    handle = worker.open("sparse")
    body = Reader(worker.extended(Extension.EXTENTS, string(handle), u64(0)).body)
    found = [(body.u64(), body.u64()) for _ in range(body.u32())]
    assert found == [(GIB, 4096)]
    digests = worker.hashes(handle)  # of which all but one are known beforehand
    hole = hashlib.sha256(bytes(HASH_CHUNK_BYTES)).digest()
    assert len(digests) == 3 * 1024 and [i for i, digest in enumerate(digests) if digest != hole] == [1024]
    worker.close(handle)


def test_reads_and_writes_are_where_they_are_asked_for(worker: WorkerSftp, tmp_path: Path) -> None:
    handle = worker.open("file", OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREATE, mode=0o600)
    worker.request(Kind.WRITE, string(handle), u64(10), string(b"later"))
    worker.request(Kind.WRITE, string(handle), u64(0), string(b"first"))
    assert Reader(worker.request(Kind.READ, string(handle), u64(0), u32(100)).body).string() == b"first\0\0\0\0\0later"
    big = os.urandom(MAX_DATA_BYTES)
    worker.request(Kind.WRITE, string(handle), u64(0), string(big))
    assert Reader(worker.request(Kind.READ, string(handle), u64(0), u32(2**32 - 1)).body).string(MAX_DATA_BYTES) == big
    with pytest.raises(SftpFailure) as caught:
        worker.request(Kind.READ, string(handle), u64(MAX_DATA_BYTES), u32(1))
    assert caught.value.code == Status.EOF
    with pytest.raises(SftpFailure):
        worker.request(Kind.READ, string(handle), u64(2**64 - 1), u32(1))
    worker.request(Kind.FSETSTAT, string(handle), Attributes(size=4, mode=0o640, atime=1, mtime=2).encoded())
    worker.extended(Extension.FSYNC, string(handle))
    worker.close(handle)
    status = (tmp_path / "file").stat()
    assert (status.st_size, status.st_mode & 0o777, int(status.st_mtime)) == (4, 0o640, 2)


@pytest.mark.skipif(not is_possible(), reason="mounting is not allowed here, even in a namespace")
def test_a_full_disk_is_said_and_nothing_ends() -> None:
    with small_disk(size_kib=1024) as disk:
        worker = WorkerSftp(disk.path, disk.path, prefix=disk.prefix)
        handle = worker.open("file", OpenFlag.WRITE | OpenFlag.CREATE)
        with pytest.raises(SftpFailure) as caught:
            for number in range(8):
                worker.request(Kind.WRITE, string(handle), u64(number * MAX_DATA_BYTES), string(bytes(MAX_DATA_BYTES)))
        assert str(caught.value) == f"{Status.FAILURE}: {os.strerror(errno.ENOSPC)}"
        worker.close(handle)
        worker.request(Kind.REMOVE, string("file"))
        worker.write("file", b"room again")
        assert worker.end() == 0


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.0\r\n\r\n", packet(Kind.STAT, 1, string("/")), packet(Kind.INIT, 3) * 2]
)
def test_who_does_not_speak_sftp_gets_one_line_and_the_end(tmp_path: Path, said: bytes) -> None:
    done = subprocess.run(
        worker_command(tmp_path, tmp_path, 2), input=said, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"auxilio: this is not SFTP") and done.stderr.count(b"\n") == 1
