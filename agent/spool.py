"""What waits on the device until the relay has acknowledged it: reports, their sections, and samples, in SQLite.

Durable: a report is on the disk before it is sent, and leaves it only when the relay said that it is committed.
Bounded: when it is full, the oldest samples are thinned first (sample_spool.py); then the oldest unacknowledged
reports go, since the newest says the same and more. The newest one, with its findings and outages, is never dropped.
The numbers of reports never repeat, even after the file was lost (see `next_number`).

A full disk is Unavailable and harms nothing that is stored. A damaged file is moved aside and a new one begun, when
the spool is opened as when the damage shows later: what it held is said anew, for its reports are not to be had.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import msgspec

from agent import sample_spool
from protocol.codec import decode, encode
from protocol.errors import BadMessage, Unavailable
from protocol.ids import Sha256, sha256
from protocol.statement import Signed

MAX_BYTES = 64 * 1024 * 1024
"""Of stored sections and reports: weeks of changes, on a disk that may be small."""

MAX_REPORTS = 500

MAX_WAL_BYTES = 4 * 1024 * 1024
"""What the write-ahead log keeps of the disk once its content is in the file."""

MAX_FREE_PAGES = 256
"""Of 4 KiB, within the file; more are given back to the disk."""

KEEP_FREE_BYTES = 4 * 1024 * 1024
"""Of the disk, that no report takes: to forget what was acknowledged needs some room too, and a spool that filled the
disk to the last byte could neither take nor forget."""

KEEP_FREE_PARTS = 8
"""Of a disk so small that KEEP_FREE_BYTES is much, one part in so many."""

LITTLE_SPACE_BYTES = 1024 * 1024
"""With less than it on the disk, an error in writing means that the disk is full, whatever SQLite calls it."""

SCHEMA_VERSION = 2
"""A file of a higher version is a later release's, and cannot be read: it is moved aside like a damaged one."""

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS reports (number INTEGER PRIMARY KEY, signed BLOB NOT NULL, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS uses (number INTEGER NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (number, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_sha256 ON uses (sha256);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
{sample_spool.SCHEMA}
"""


class SpooledReport(msgspec.Struct, frozen=True):
    """number: of the report.  sections: name to the SHA-256 of its bytes."""

    number: int
    signed: Signed
    sections: dict[str, Sha256]


class SpoolStatus(msgspec.Struct, frozen=True):
    """reports: waiting.  bytes: stored.  dropped: reports given up for want of room since the spool began.

    samples: that are in no batch yet."""

    reports: int
    bytes: int
    dropped: int
    samples: int = 0


class SpoolDamaged(Unavailable):
    """What is stored cannot be read any more. A new spool is in its place when this is raised."""

    code = "spool_damaged"
    default_hint = "The device's state is reported anew. If it happens again, check the disk."


class Spool:
    """One writer. Every method is short; the largest thing moved is one section."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, max_reports: int = MAX_REPORTS) -> None:
        """Open or begin the spool at `path`. moved_aside: where a damaged one went, or None.

        Raises Unavailable where the disk is full or the folder cannot be written.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._max_reports = max_reports
        self.moved_aside: Path | None = None
        try:
            try:
                self.db = self._open()
            except sqlite3.DatabaseError as exc:
                if not _is_damage(exc):
                    raise
                self._move_aside()
                self.db = self._open()
        except (sqlite3.DatabaseError, OSError) as exc:
            raise self._unavailable(exc) from exc

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            os.chmod(self._path, 0o600)
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")  # counts only for a new file, before its first table
            # Debian's SQLite overwrites what it frees with zeros, by way of the log: to forget reports would take as
            # much room as they do. They hold no secrets.
            db.execute("PRAGMA secure_delete=OFF")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA journal_size_limit={MAX_WAL_BYTES}")
            db.execute("PRAGMA synchronous=FULL")  # in WAL, anything less may lose a commit with the power
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in range(SCHEMA_VERSION + 1):
                raise _Unreadable(f"a later release made it (version {version})")
            if version != SCHEMA_VERSION:  # writes, and so needs room, only where there is something to write
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise _Unreadable("the file is damaged")
        except BaseException:
            db.close()
            raise
        return db

    def _move_aside(self) -> None:
        number = 1
        while (aside := self._path.with_name(f"{self._path.name}.damaged-{number}")).exists():
            number += 1
        self._path.rename(aside)
        for suffix in ("-wal", "-shm"):
            companion = self._path.with_name(self._path.name + suffix)
            if companion.exists():  # the log may hold what the file does not: whoever looks wants both
                companion.rename(aside.with_name(aside.name + suffix))
        self.moved_aside = aside

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raises Unavailable, or SpoolDamaged after a new spool was begun, for what SQLite raises."""
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as exc:
            if not _is_damage(exc):
                raise self._unavailable(exc) from exc
            self._begin_anew(exc)

    def _begin_anew(self, damage: Exception) -> NoReturn:
        self.db.close()
        try:
            self._move_aside()
            self.db = self._open()
        except (sqlite3.DatabaseError, OSError) as exc:
            raise self._unavailable(exc) from exc
        name = self.moved_aside.name if self.moved_aside else ""
        raise SpoolDamaged(f"the spool was damaged ({damage}); it was moved to {name} and a new one begun") from damage

    def _unavailable(self, failure: Exception) -> Unavailable:
        if self._is_full(failure):
            code, hint = "disk_full", "Free some disk space; reports wait until then, and what is stored stays."
        else:
            code, hint = "spool_unavailable", f"Check {self._path.parent}, its permissions and its disk."
        return Unavailable(f"the spool {self._path.name} cannot be used: {failure}", code=code, hint=hint)

    def _is_full(self, failure: Exception) -> bool:
        if isinstance(failure, OSError):
            return failure.errno in (errno.ENOSPC, errno.EDQUOT)
        if _code(failure) == sqlite3.SQLITE_FULL:
            return True
        if _code(failure) not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return False
        try:
            return shutil.disk_usage(self._path.parent).free < LITTLE_SPACE_BYTES
        except OSError:
            return False

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.failures():
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    def last_number(self) -> int:
        """The highest number that was used here; 0: none, or the file was lost."""
        return self.state("last_number")

    def next_number(self, relay_has: int) -> int:
        """The number for the next report: above every one used here and `relay_has`, the relay's last."""
        return max(self.last_number(), relay_has) + 1

    def put_report(self, number: int, signed: Signed, sections: Iterable[tuple[str, Sha256, bytes | None]]) -> None:
        """Store a report and the bytes of its sections: (name, sha256, bytes, or None where they are not needed).

        Committed to the disk on return. Raises Unavailable; then nothing changed.
        """
        body = encode(signed)
        sections = tuple(sections)
        self.check_room(len(body) + sum(len(data) for _, _, data in sections if data is not None))
        with self.transaction() as db:
            db.execute("INSERT INTO reports VALUES (?, ?, ?)", (number, body, len(body)))
            for name, digest, data in sections:
                db.execute("INSERT INTO uses VALUES (?, ?, ?)", (number, name, digest))
                if data is not None:
                    db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (digest, data))
            db.execute("INSERT OR REPLACE INTO state VALUES ('last_number', ?)", (number,))
            self._thin(db)

    def check_room(self, size: int) -> None:
        """Raises Unavailable where storing `size` bytes would make the disk too full."""
        if not self._has_room(size):
            self.give_back(-1)
        with self.failures():
            if not self._has_room(size):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _has_room(self, size: int) -> bool:
        """`size` bytes go to the log first, then to the file, as does what is in the log already."""
        with self.failures():
            disk = shutil.disk_usage(self._path.parent)
            log = self._path.with_name(self._path.name + "-wal")
            needed = 2 * size + (log.stat().st_size if log.exists() else 0)
        return disk.free >= needed + min(KEEP_FREE_BYTES, disk.total // KEEP_FREE_PARTS)

    def _thin(self, db: sqlite3.Connection) -> None:
        """While there is too much, thin the samples, then give up the oldest reports, never the newest."""
        while True:
            count, oldest = db.execute("SELECT count(*), min(number) FROM reports").fetchone()
            if count <= self._max_reports:
                if self._bytes(db) <= self._max_bytes:
                    return
                if sample_spool.thin(db):
                    continue
            if count <= 1:
                return
            db.execute("DELETE FROM reports WHERE number = ?", (oldest,))
            self._forget_unused(db)
            db.execute("INSERT INTO state VALUES ('dropped', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")

    @staticmethod
    def _forget_unused(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM uses WHERE number NOT IN (SELECT number FROM reports)")
        db.execute("DELETE FROM blobs WHERE sha256 NOT IN (SELECT sha256 FROM uses)")

    @staticmethod
    def _bytes(db: sqlite3.Connection) -> int:
        reports = "(SELECT coalesce(sum(size), 0) FROM reports) + (SELECT coalesce(sum(length(data)), 0) FROM blobs)"
        query = f"SELECT {reports} + {sample_spool.BYTES}"
        total: int = db.execute(query).fetchone()[0]
        return total

    def report(self, number: int) -> SpooledReport | None:
        """The report with this number, or None where it is not kept any more or cannot be read."""
        with self.failures():
            row = self.db.execute("SELECT signed FROM reports WHERE number = ?", (number,)).fetchone()
            if row is None:
                return None
            uses = self.db.execute("SELECT name, sha256 FROM uses WHERE number = ?", (number,)).fetchall()
        try:
            return SpooledReport(number, decode(row[0], Signed), dict(uses))
        except BadMessage:
            return None  # a damage that SQLite does not see

    def waiting(self) -> tuple[int, ...]:
        """Numbers of the reports that wait, ascending."""
        with self.failures():
            rows = self.db.execute("SELECT number FROM reports ORDER BY number").fetchall()
        return tuple(row[0] for row in rows)

    def blob(self, digest: Sha256) -> bytes | None:
        """The bytes of a section that a waiting report names, or None where they are not kept, or not as they were."""
        with self.failures():
            row = self.db.execute("SELECT data FROM blobs WHERE sha256 = ?", (digest,)).fetchone()
        if row is None or sha256(bytes(row[0])) != digest:
            return None  # what is damaged would be uploaded under another name, and be missing for ever
        return bytes(row[0])

    def acknowledged(self, number: int) -> None:
        """The relay committed this report. Older ones it has, or they no longer matter: they go too."""
        with self.transaction() as db:
            db.execute("DELETE FROM reports WHERE number <= ?", (number,))
            self._forget_unused(db)
        self.give_back()

    def discard(self, number: int) -> None:
        """The relay will never take this report (it refused it for good). Older ones stay."""
        with self.transaction() as db:
            db.execute("DELETE FROM reports WHERE number = ?", (number,))
            self._forget_unused(db)
        self.give_back()

    def give_back(self, most_free_pages: int = MAX_FREE_PAGES) -> None:
        """After a long time without a relay the file is large and empty: return it to the disk."""
        try:
            with self.failures():
                if self.db.execute("PRAGMA freelist_count").fetchone()[0] > most_free_pages:
                    # A script: `execute` would take one step of it, which is one page.
                    self.db.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
        except SpoolDamaged:
            raise
        except Unavailable:
            pass  # needs room itself, and can wait: what was to be forgotten is

    def status(self) -> SpoolStatus:
        with self.failures():
            count = self.db.execute("SELECT count(*) FROM reports").fetchone()[0]
            samples = self.db.execute("SELECT count(*) FROM samples").fetchone()[0]
            return SpoolStatus(count, self._bytes(self.db), self.state("dropped"), samples)

    def state(self, name: str) -> int:
        with self.failures():
            row = self.db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else 0

    def close(self) -> None:
        self.db.close()


class _Unreadable(sqlite3.DatabaseError):
    """Sound or not, we cannot use this file."""


def _code(failure: Exception) -> int:
    """SQLite's primary result code; 0 where it gave none."""
    return getattr(failure, "sqlite_errorcode", 0) & 0xFF


def _is_damage(failure: Exception) -> bool:
    return isinstance(failure, _Unreadable) or _code(failure) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def read_spool_status(path: Path) -> SpoolStatus | None:
    """What waits in the spool at `path`, which stays as it is; None where it cannot be read."""
    if not path.exists():
        return SpoolStatus(0, 0, 0)
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)
        try:
            count = db.execute("SELECT count(*) FROM reports").fetchone()[0]
            dropped = db.execute("SELECT value FROM state WHERE name = 'dropped'").fetchone()
            samples = db.execute("SELECT count(*) FROM samples").fetchone()[0]
            return SpoolStatus(count, Spool._bytes(db), dropped[0] if dropped else 0, samples)
        finally:
            db.close()
    except (sqlite3.Error, OSError):
        return None
