"""`auxilio cp` against real SFTP servers: OpenSSH's, which knows nothing of ours, and the device's own worker."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from console.files.names import part_name
from console.files.tally import Tally
from protocol.errors import Refused, UsageInvalid
from tests.support.copying import STOCK, Copier, copy_by, down, up
from tests.support.effort import LONG
from tests.support.sftp import worker_command
from tests.support.small_disk import is_possible, small_disk

MIB = 1024 * 1024
GIB = 1024 * MIB
MANY = 20_000 if LONG else 500
SERVERS = [
    pytest.param("stock", marks=pytest.mark.skipif(not Path(STOCK[0]).exists(), reason="needs openssh-sftp-server")),
    "worker",
]


@pytest.fixture(params=SERVERS)
def copier(request: pytest.FixtureRequest, tmp_path: Path) -> Copier:
    (tmp_path / "home").mkdir()
    return Copier(request.param, tmp_path / "home")


@pytest.fixture
def worker(tmp_path: Path) -> Copier:
    (tmp_path / "home").mkdir()
    return Copier("worker", tmp_path / "home")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "deep" / "er" / "empty").mkdir(parents=True)
    (root / "none").write_bytes(b"")
    (root / "one").write_bytes(b"1")
    (root / "exact").write_bytes(os.urandom(MIB))
    (root / "bulk").write_bytes(os.urandom(3 * MIB + 12345))
    (root / "deep" / "tool").write_text("#!/bin/sh\n")
    (root / "deep" / "tool").chmod(0o751)
    (root / "deep" / "er" / "esp\u00e1rrago \U0001f331 \x1b[2J").write_text("hola")
    (root / "deep" / "er" / os.fsdecode(b"\xff\xfe not text")).write_text("hola")
    (root / "one").chmod(0o400)
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1_500_000_000, 1_600_000_000))
    (root / "deep" / "er").chmod(0o555)
    return root


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(root: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, mtime in whole seconds, and content of everything below `root`, and of itself."""
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.lstat().st_mode),
            int(path.lstat().st_mtime),
            digest(path) if path.is_file() else "",
        )
        for path in sorted([root, *root.rglob("*")])
    }


def parts(folder: Path) -> list[Path]:
    return list(folder.rglob(".auxilio-*"))


async def test_a_tree_goes_there_and_back_with_times_and_modes(copier: Copier, source: Path, tmp_path: Path) -> None:
    sent = await copier.put(source, to="there")
    there = copier.home / "there" / "source"
    assert tree(there) == tree(source)
    got = await copier.get("there/source", to=tmp_path / "back")
    assert tree(tmp_path / "back" / "source") == tree(source)
    for tally in (sent, got):
        assert (tally.copied, tally.folders, tally.failed, tally.unchanged) == (7, 4, 0, 0)
        assert tally.moved == tally.bytes == tally.settled
    assert not parts(tmp_path)


async def test_what_is_there_already_is_not_sent_again(copier: Copier, source: Path, tmp_path: Path) -> None:
    await copier.put(source, to="")
    (source / "one").chmod(0o600)
    (source / "one").write_bytes(b"2")
    os.utime(source / "one", (1, 1_600_000_001))
    again = await copier.put(source, to="")
    assert (again.copied, again.unchanged, again.moved) == (1, 6, 1)
    assert tree(copier.home / "source") == tree(source)
    await copier.get("source", to=tmp_path / "back")
    (tmp_path / "back" / "source" / "bulk").chmod(0o777)
    again = await copier.get("source", to=tmp_path / "back")
    assert (again.copied, again.unchanged, again.moved) == (0, 7, 0)
    assert tree(tmp_path / "back" / "source") == tree(source)


async def test_a_copy_takes_its_place_at_once_and_whoever_reads_the_old_file_goes_on(
    copier: Copier, tmp_path: Path
) -> None:
    (tmp_path / "new").write_text("new content")
    (copier.home / "file").write_text("old")
    with (copier.home / "file").open() as reader:
        await copier.put(tmp_path / "new", to="file")
        assert reader.read() == "old"
    assert (copier.home / "file").read_text() == "new content"


async def test_where_a_copy_goes(copier: Copier, source: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    await copier.put(source / "one", to="renamed")
    await copier.put(source / "one", source / "none", to="made")
    await copier.put(f"{source}/deep/.", to="content")
    assert sorted(os.listdir(copier.home)) == ["content", "made", "renamed"]
    assert sorted(os.listdir(copier.home / "made")) == ["none", "one"]
    assert sorted(os.listdir(copier.home / "content")) == ["er", "tool"]
    await copier.get("renamed", to=here)
    await copier.get(str(copier.home / "renamed"), to=here / "other")
    await copier.get("", to=here / "home")
    assert sorted(os.listdir(here)) == ["home", "other", "renamed"]
    assert sorted(os.listdir(here / "home")) == ["content", "made", "renamed"]


async def test_what_cannot_be_meant_is_said(copier: Copier, source: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing on the device: no such file"):
        await copier.get("nothing", to=tmp_path)
    with pytest.raises(Refused) as caught:
        await copier.get("*.log", to=tmp_path)
    assert "not expanded" in caught.value.hint
    with pytest.raises(Refused, match="is a folder") as caught:
        await copier.put(source, to="", recursive=False)
    assert caught.value.hint == "-r copies folders."
    with pytest.raises(UsageInvalid, match="same name"):
        await copier.put(source / "one", f"{source}/deep/../one", to="")
    with pytest.raises(FileNotFoundError):
        await copier.get("", to=tmp_path / "no" / "such" / "folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="is no file"):
        await copier.put(tmp_path / "pipe", to="")


async def test_some_that_fail_do_not_keep_the_rest(copier: Copier, source: Path) -> None:
    (copier.home / "source" / "one").mkdir(parents=True)
    (copier.home / "source" / "deep").write_text("no folder")
    tally = await copier.put(source, to="")
    assert sorted((Path(what).name, why) for what, why in tally.failures) == [
        ("deep", "what is there is no folder"),
        ("one", "a folder of this name is in its place"),
    ]
    assert tally.copied == 3 and digest(copier.home / "source" / "bulk") == digest(source / "bulk")


async def test_links_inside_are_made_again_where_asked_for(copier: Copier, tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "file").write_text("file")
    (top / "sub" / "up").symlink_to("../file")
    (top / "down").symlink_to("sub/")
    (top / "out").symlink_to("../../etc")
    os.mkfifo(top / "pipe")
    plain = await copier.put(top, to="plain")
    assert plain.skipped == {"link": 3, "devices, sockets and pipes": 1} and plain.failed == 0
    tally = await copier.put(top, to="", links=True)
    assert (tally.links, tally.failed) == (2, 1)
    assert os.readlink(copier.home / "top" / "sub" / "up") == "../file"
    back = await copier.get("top", to=tmp_path / "back", links=True)
    assert (back.links, back.failed) == (2, 0) and os.readlink(tmp_path / "back" / "top" / "down") == "sub/"
    again = await copier.put(top, to="", links=True)
    assert again.links == 2
    assert not parts(copier.home)


async def test_many_small_files_in_each_direction(copier: Copier, tmp_path: Path) -> None:
    top = tmp_path / "many"
    for number in range(MANY):
        folder = top / str(number % 7) / str(number % 31)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_bytes(b"%d\n" % number * (number % 40))
    sent = await copier.put(top, to="")
    got = await copier.get("many", to=tmp_path / "back")
    assert (sent.copied, got.copied, sent.failed, got.failed) == (MANY, MANY, 0, 0)
    assert tree(copier.home / "many") == tree(top) == tree(tmp_path / "back" / "many")


async def test_verify_reads_back_what_the_device_cannot_hash(tmp_path: Path, source: Path) -> None:
    if not Path(STOCK[0]).exists():
        pytest.skip("needs openssh-sftp-server")
    (tmp_path / "home").mkdir()
    copier = Copier("stock", tmp_path / "home")
    tally = await copier.put(source, to="", verify=True)
    await copier.get("source", to=tmp_path / "back", verify=True)
    assert tree(tmp_path / "back" / "source") == tree(source) == tree(copier.home / "source")
    # The same size and time, yet not the same: only who reads it back sees that.
    bulk = copier.home / "source" / "bulk"
    bulk.write_bytes(bytes(bulk.stat().st_size))
    os.utime(bulk, (1_500_000_000, 1_600_000_000))
    assert (await copier.put(source / "bulk", to="source/bulk")).unchanged == 1
    tally = await copier.put(source / "bulk", to="source/bulk", verify=True)
    assert tally.copied == 1 and digest(bulk) == digest(source / "bulk")


# -- what only the device's own worker can ----------------------------------------------------------------------------


async def interrupted(worker: Copier, download: bool, source: Path, target: Path | str, after: int) -> None:
    """Copy, and stop once `after` bytes have moved."""
    tally = Tally()
    copying = (worker.get if download else worker.put)(source, to=target, tally=tally)
    task = asyncio.ensure_future(copying)
    async with asyncio.timeout(60):
        while tally.moved < after and not task.done():
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("download", [True, False])
async def test_an_interrupted_copy_goes_on_with_what_is_missing(worker: Copier, tmp_path: Path, download: bool) -> None:
    source, target = tmp_path / "bulk", tmp_path / "copy"
    source.write_bytes(os.urandom(MIB) * 64)
    source.chmod(0o640)
    await interrupted(worker, download, source, target, 20 * MIB)
    assert not target.exists() and len(parts(tmp_path)) == 1
    assert stat.S_IMODE(parts(tmp_path)[0].stat().st_mode) == 0o600
    rest = await (worker.get if download else worker.put)(source, to=target)
    assert (rest.resumed, rest.copied) == (1, 1)
    assert 0 < rest.moved <= 44 * MIB and rest.settled == 64 * MIB
    assert digest(target) == digest(source) and stat.S_IMODE(target.stat().st_mode) == 0o640
    assert not parts(tmp_path)


@pytest.mark.parametrize("download", [True, False])
async def test_an_unfinished_copy_of_another_file_is_not_believed(
    worker: Copier, tmp_path: Path, download: bool
) -> None:
    source, target = tmp_path / "bulk", tmp_path / "copy"
    source.write_bytes(os.urandom(2 * MIB) + bytes(3 * MIB))
    part = tmp_path / os.fsdecode(part_name(b"copy"))
    part.write_bytes(os.urandom(9 * MIB))
    part.chmod(0o600)
    with source.open("r+b") as file:  # and has data where the source has a hole
        file.truncate(2 * MIB)
        file.truncate(5 * MIB)
    await (worker.get if download else worker.put)(source, to=target)
    assert digest(target) == digest(source)


@pytest.mark.parametrize("download", [True, False])
async def test_a_sparse_file_of_5_gib_stays_one(worker: Copier, tmp_path: Path, download: bool) -> None:
    source, target = tmp_path / "sparse", tmp_path / "copy"
    with source.open("wb") as file:
        file.truncate(5 * GIB)
        for at in (0, GIB + 77 * 4096, 3 * GIB - 1, 5 * GIB - 10):
            file.seek(at)
            file.write(os.urandom(10))
    tally = await (worker.get if download else worker.put)(source, to=target)
    assert tally.settled == 5 * GIB and tally.moved < MIB
    assert target.stat().st_size == 5 * GIB
    assert target.stat().st_blocks <= source.stat().st_blocks + 64
    with source.open("rb") as one, target.open("rb") as other:
        for at in (0, GIB + 77 * 4096, 3 * GIB - 4096, 5 * GIB - 4096, 2 * GIB):
            assert os.pread(one.fileno(), 8192, at) == os.pread(other.fileno(), 8192, at)
    again = await (worker.get if download else worker.put)(source, to=target)
    assert again.unchanged == 1


async def test_two_copies_of_one_file_do_not_write_into_each_other(worker: Copier, tmp_path: Path) -> None:
    source = tmp_path / "bulk"
    source.write_bytes(os.urandom(MIB) * 32)
    part = tmp_path / os.fsdecode(part_name(b"copy"))
    code = "import os, sys; f = open(sys.argv[1], 'wb'); os.lockf(f.fileno(), os.F_LOCK, 0); print(flush=True); input()"
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(part), stdin=pipe, stdout=pipe)
    assert holder.stdin is not None and holder.stdout is not None
    await holder.stdout.readline()
    part.chmod(0o600)
    tally = await worker.get(source, to=tmp_path / "copy")
    assert [why for _, why in tally.failures] == ["another copy is writing the same file"]
    holder.stdin.write(b"\n")
    await holder.wait()
    assert (await worker.get(source, to=tmp_path / "copy")).copied == 1


@pytest.mark.skipif(not is_possible(), reason="mounting is not allowed here, even in a namespace")
async def test_a_full_disk_there_is_said_of_each_file_and_here_before_it_is_full(tmp_path: Path, source: Path) -> None:
    with small_disk(size_kib=2048) as disk, open(os.devnull, "wb") as notes:
        command = [*disk.prefix, *worker_command(Path("/"), disk.path, notes.fileno())]
        tally = await copy_by(command, up(source), tally=Tally(), pass_fds=(notes.fileno(),))
        assert ("bulk", "No space left on device") in {(Path(what).name, why) for what, why in tally.failures}
        assert (disk.outside / "source" / "one").exists()
        (tmp_path / "home").mkdir()
        with open(os.devnull, "wb") as notes:
            command = worker_command(Path("/"), tmp_path, notes.fileno())
            tally = await copy_by(command, down("source/bulk", disk.outside), tally=Tally(), pass_fds=(notes.fileno(),))
        [(_, why)] = tally.failures
        assert why == "it needs 3 MiB, and 0 B are free here"
