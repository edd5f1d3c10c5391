"""The spool against what it is for: being killed at any instruction, and a disk that is full."""

from __future__ import annotations

import ctypes
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.spool import Spool
from protocol.codec import encode
from protocol.errors import Unavailable
from protocol.ids import sha256
from protocol.statement import Signed
from tests.support.effort import LONG

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 60 if LONG else 6
TMPFS_BYTES = 1024 * 1024

WRITER = """
import os, sys
from pathlib import Path
from agent.spool import Spool
from protocol.ids import sha256
from protocol.statement import Signed

spool = Spool(Path(sys.argv[1]))
number = spool.next_number(0)
while True:
    sections = [os.urandom(3000) for _ in range(3)] + [b"the same in all of them"]
    signed = Signed(payload=str(number).encode(), signature=b"")
    spool.put_report(number, signed, [(f"s{i}", sha256(d), d) for i, d in enumerate(sections)])
    print("put", number, flush=True)
    if number % 5 == 0:
        spool.acknowledged(number - 3)
        print("acknowledged", number - 3, flush=True)
    number += 1
"""


def test_killed_at_any_instruction_it_keeps_what_it_promised_and_nothing_by_halves(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    luck = random.Random(7)  # which moment to kill at is no secret, and a failure must be repeatable
    put = acknowledged = 0
    for _ in range(ROUNDS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(luck.randrange(1, 25))]
        writer.kill()
        said += writer.stdout.readlines()
        writer.wait()
        for word, number in (line.split() for line in said if line.endswith("\n")):
            if word == "put":
                assert int(number) == put + 1, "a number was used twice, or one was left out"
                put = int(number)
            else:
                acknowledged = int(number)
        spool = Spool(path)
        waiting = spool.waiting()
        newest = spool.last_number()
        assert spool.moved_aside is None
        assert newest in (put, put + 1), "at most the one that was being stored when it was killed"
        assert waiting == tuple(range(waiting[0], newest + 1))
        assert waiting[0] in (acknowledged + 1, acknowledged + 6), "nothing is forgotten that was not acknowledged"
        for kept in waiting:
            report = spool.report(kept)
            assert report is not None and report.signed.payload == str(kept).encode()
            assert len(report.sections) == 4
            for digest in report.sections.values():
                assert (data := spool.blob(digest)) is not None and sha256(data) == digest
        spool.close()
        with sqlite3.connect(path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            unused = "SELECT count(*) FROM blobs WHERE sha256 NOT IN (SELECT sha256 FROM uses)"
            assert db.execute(unused).fetchone() == (0,)
        put, acknowledged = newest, waiting[0] - 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting takes root")
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={TMPFS_BYTES},mode=0700".encode()
    if libc.mount(b"auxilio-test", bytes(tmp_path), b"tmpfs", 0, options) != 0:
        pytest.skip(f"mounting is not allowed here: {os.strerror(ctypes.get_errno())}")
    try:
        yield tmp_path
    finally:
        libc.umount2(bytes(tmp_path), 2)  # MNT_DETACH: whatever is still open


def put(spool: Spool, number: int, size: int) -> None:
    data = os.urandom(size)
    spool.put_report(number, Signed(payload=b"%d" % number, signature=b""), [("s", sha256(data), data)])


def fill_spool(spool: Spool, number: int) -> int:
    """Put reports after `number` until it refuses, and return the last that it took."""
    try:
        while True:
            put(spool, number + 1, 30_000)
            number += 1
    except Unavailable:
        return number


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    ballast = folder / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return ballast


def test_on_a_full_disk_what_is_stored_stays_and_the_rest_is_refused_with_a_hint(small_disk: Path) -> None:
    path = small_disk / "spool.sqlite"
    spool = Spool(path)
    stored = 0
    with pytest.raises(Unavailable) as caught:
        while True:
            put(spool, stored + 1, 30_000)
            stored += 1
    assert stored > 5
    assert caught.value.reason == "disk_full" and "disk space" in caught.value.hint
    assert "\n" not in caught.value.message
    assert spool.waiting() == tuple(range(1, stored + 1))
    ballast = fill(small_disk)
    with pytest.raises(Unavailable) as caught:
        put(spool, stored + 1, 30_000)
    assert caught.value.reason == "disk_full"
    ballast.unlink()
    spool.close()
    spool = Spool(path)
    assert spool.moved_aside is None, "full is not damaged"
    assert spool.waiting() == tuple(range(1, stored + 1))
    for number in spool.waiting():
        report = spool.report(number)
        assert report is not None and all(spool.blob(digest) for digest in report.sections.values())
    stored = fill_spool(spool, stored)
    spool.acknowledged(stored)
    assert fill_spool(spool, stored) > stored + 5, "what filled its disk can be emptied, and filled again"


def test_on_a_disk_that_others_filled_forgetting_works_or_waits_and_nothing_is_lost(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool.sqlite")
    for number in range(1, 5):
        put(spool, number, 30_000)
    ballast = fill(small_disk)
    try:
        spool.acknowledged(2)
    except Unavailable as exc:
        assert exc.reason == "disk_full"
    assert spool.waiting()[-2:] == (3, 4)
    ballast.unlink()
    spool.acknowledged(2)
    assert spool.waiting() == (3, 4)


def test_a_spool_that_was_closed_can_be_opened_or_says_why_on_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "spool.sqlite"
    spool = Spool(path)
    put(spool, 1, 1000)
    spool.close()
    ballast = fill(small_disk)
    try:
        spool = Spool(path)
    except Unavailable as exc:
        assert exc.reason == "disk_full", exc.message
    else:
        assert spool.waiting() == (1,) and spool.moved_aside is None
        spool.close()
    ballast.unlink()
    spool = Spool(path)
    assert spool.moved_aside is None and spool.waiting() == (1,)


def test_a_spool_that_never_was_says_that_the_disk_is_full(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(Unavailable) as caught:
        Spool(small_disk / "spool.sqlite")
    assert caught.value.reason == "disk_full"
    (small_disk / "ballast").unlink()
    assert Spool(small_disk / "spool.sqlite").waiting() == ()


FILE_SIZE_LIMITED = """
import resource, sys
from pathlib import Path
from agent.spool import Spool
from protocol.errors import Unavailable
from protocol.ids import sha256
from protocol.statement import Signed

resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
spool = Spool(Path(sys.argv[1]))
number = 0
try:
    while True:
        number += 1
        data = bytes([number]) * 20_000
        spool.put_report(number, Signed(payload=b"", signature=b""), [("s", sha256(data), data)])
except Unavailable as exc:
    assert spool.waiting() == tuple(range(1, number)), (spool.waiting(), number)
    print(number - 1, exc.reason)
"""


def test_a_limit_on_the_size_of_files_loses_nothing_either(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILE_SIZE_LIMITED, str(tmp_path / "spool.sqlite")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    stored, reason = result.stdout.split()
    assert int(stored) > 3 and reason in ("spool_unavailable", "disk_full")
    assert Spool(tmp_path / "spool.sqlite").waiting() == tuple(range(1, int(stored) + 1))


def test_two_processes_that_share_it_by_mistake_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    first, second = Spool(path), Spool(path)
    for number in range(1, 20, 2):
        put(first, number, 100)
        put(second, number + 1, 100)
    assert first.waiting() == second.waiting() == tuple(range(1, 21))
    assert encode(first.status()) == encode(second.status())
