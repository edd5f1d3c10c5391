"""The spool: durable, bounded, and unharmed by a damaged file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from agent.spool import Spool, SpoolDamaged
from protocol.errors import Unavailable
from protocol.ids import sha256
from protocol.statement import Signed

SIGNED = Signed(payload=b"report", signature=b"signature")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def put(spool: Spool, number: int, data: bytes | None = b"section", name: str = "memory") -> None:
    spool.put_report(number, SIGNED, [(name, sha256(data or b"section"), data)])


def test_a_report_waits_until_it_is_acknowledged_and_survives_reopening(path: Path) -> None:
    put(Spool(path), 1)
    spool = Spool(path)
    assert spool.waiting() == (1,)
    report = spool.report(1)
    assert report is not None and report.signed == SIGNED and report.sections == {"memory": sha256(b"section")}
    assert spool.blob(sha256(b"section")) == b"section"
    spool.acknowledged(1)
    assert spool.waiting() == () and spool.blob(sha256(b"section")) is None


def test_a_section_stays_while_any_report_names_it(path: Path) -> None:
    spool = Spool(path)
    put(spool, 1)
    put(spool, 2)
    spool.acknowledged(1)
    assert spool.blob(sha256(b"section")) == b"section"
    spool.discard(2)
    assert spool.blob(sha256(b"section")) is None


def test_numbers_never_repeat(path: Path) -> None:
    spool = Spool(path)
    assert spool.next_number(0) == 1
    put(spool, 1)
    spool.acknowledged(1)
    assert Spool(path).next_number(0) == 2
    assert spool.next_number(41) == 42, "a relay that has seen more than this file remembers"


def test_when_it_is_full_the_oldest_go_and_the_newest_never(path: Path) -> None:
    spool = Spool(path, max_bytes=3000)
    for number in range(1, 6):
        put(spool, number, bytes([number]) * 1000)
    assert spool.waiting() == (4, 5)
    assert spool.status().bytes <= 3000 and spool.status().dropped == 3
    put(spool, 6, b"x" * 5000)
    assert spool.waiting() == (6,), "larger than all the room, and still the newest"


def test_it_is_bounded_in_reports_too(path: Path) -> None:
    spool = Spool(path, max_reports=3)
    for number in range(1, 10):
        put(spool, number)
    assert spool.waiting() == (7, 8, 9)


def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    spool = Spool(path)
    assert spool.moved_aside is not None and spool.moved_aside.exists()
    put(spool, 1)
    path.with_name("spool.sqlite-wal").unlink(missing_ok=True)
    assert spool.waiting() == (1,)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Spool(tmp_path / "missing" / "spool.sqlite")
    assert caught.value.hint and "\n" not in caught.value.message


def test_a_report_that_is_not_stored_changes_nothing(path: Path) -> None:
    spool = Spool(path)
    put(spool, 1)
    with pytest.raises(Exception, match="UNIQUE"):
        spool.put_report(1, SIGNED, [("cpu", sha256(b"other"), b"other")])
    assert spool.waiting() == (1,) and spool.blob(sha256(b"other")) is None


def test_what_is_damaged_within_a_sound_database_is_not_handed_out(path: Path) -> None:
    spool = Spool(path)
    put(spool, 1)
    with sqlite3.connect(path) as other:
        other.execute("UPDATE blobs SET data = ?", (b"sectiom",))
        other.execute("UPDATE reports SET signed = ?", (b"{",))
    assert spool.blob(sha256(b"section")) is None
    assert spool.report(1) is None and spool.waiting() == (1,)


def test_damage_that_shows_while_it_is_open_costs_what_was_stored_and_no_more(path: Path) -> None:
    spool = Spool(path)
    for number in range(1, 40):
        put(spool, number, os.urandom(20_000))
    spool.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    spool.close()
    spool = Spool(path)
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    path.write_bytes(content)
    spool.db.execute("PRAGMA shrink_memory")  # what it has read so far it would not read again
    with pytest.raises(SpoolDamaged) as caught:
        for number in range(1, 40):
            spool.report(number)
            spool.acknowledged(number)
    assert "damaged-1" in caught.value.message and caught.value.hint
    assert spool.moved_aside == path.with_name("spool.sqlite.damaged-1") and spool.moved_aside.exists()
    put(spool, 40)
    assert spool.waiting() == (40,) and Spool(path).waiting() == (40,)


def test_a_file_of_a_later_release_is_kept_aside_and_not_misread(path: Path) -> None:
    Spool(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version=9")
    spool = Spool(path)
    assert spool.moved_aside is not None and spool.waiting() == ()
    put(spool, 1)
    spool.close()
    assert Spool(path).moved_aside is None, "its own version it reads"


def test_a_second_damaged_file_does_not_overwrite_the_first(path: Path) -> None:
    for number in (1, 2):
        path.write_bytes(b"not a database " * 100 + bytes([number]))
        spool = Spool(path)
        spool.close()
        assert spool.moved_aside is not None and spool.moved_aside.name.endswith(f"damaged-{number}")
    assert len(list(path.parent.glob("*.damaged-?"))) == 2


def test_room_that_a_long_absence_took_is_given_back_to_the_disk(path: Path) -> None:
    spool = Spool(path)
    for number in range(1, 21):
        put(spool, number, os.urandom(1_000_000))
    spool.acknowledged(20)
    assert spool.status().bytes == 0
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < 6 * 1024 * 1024


def test_the_files_are_nobody_elses_to_read(path: Path) -> None:
    spool = Spool(path)
    put(spool, 1)
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}
