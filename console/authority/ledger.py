"""What this authority issued: technicians' certificates and join tokens. SQLite, so that a crash loses no row.

A row is written before its certificate leaves the house: better one that nobody got than one that nobody knows.
What is revoked is not here but in the policy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from console.home import make_folder
from protocol.errors import ConfigInvalid, Unavailable

FILE = "ledger.sqlite"

BUSY_WITHIN_S = 10.0
"""For another command of the same admin; each holds the ledger for milliseconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS certificate (
    serial INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL, ca TEXT NOT NULL, may TEXT NOT NULL,
    scope TEXT NOT NULL, principals TEXT NOT NULL, valid_after INTEGER NOT NULL, valid_before INTEGER NOT NULL,
    certificate TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS token (
    token TEXT PRIMARY KEY, serial INTEGER NOT NULL UNIQUE, tags TEXT NOT NULL, uses INTEGER NOT NULL,
    issued_at INTEGER NOT NULL, not_after_at INTEGER NOT NULL
) STRICT;
"""


class IssuedCertificate(msgspec.Struct, frozen=True):
    """key, ca: fingerprints.  may, principals: comma-separated.  valid_*: Unix seconds.  certificate: public line."""

    serial: int
    name: str
    key: str
    ca: str
    may: str
    scope: str
    principals: str
    valid_after: int
    valid_before: int
    certificate: str


class IssuedToken(msgspec.Struct, frozen=True):
    """tags: comma-separated.  *_at: Unix seconds. The token itself, which holds a private key, is not kept."""

    token: str
    serial: int
    tags: str
    uses: int
    issued_at: int
    not_after_at: int


class Ledger:
    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def add_certificate(self, issued: IssuedCertificate) -> None:
        """Raises sqlite's trouble as Unavailable or ConfigInvalid; ConfigInvalid (serial_taken) for a serial in use."""
        with self._open() as database:
            database.execute(
                "INSERT INTO certificate VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(issued)
            )

    def add_token(self, issued: IssuedToken) -> None:
        with self._open() as database:
            database.execute("INSERT INTO token VALUES (?, ?, ?, ?, ?, ?)", msgspec.structs.astuple(issued))

    def certificates(self, name: str | None = None) -> list[IssuedCertificate]:
        """Oldest first; of one technician where a name is given."""
        with self._open() as database:
            rows = database.execute(
                "SELECT * FROM certificate WHERE ?1 IS NULL OR name = ?1 ORDER BY valid_after, rowid", (name,)
            ).fetchall()
        return [IssuedCertificate(*row) for row in rows]

    def tokens(self) -> list[IssuedToken]:
        with self._open() as database:
            rows = database.execute("SELECT * FROM token ORDER BY issued_at, rowid").fetchall()
        return [IssuedToken(*row) for row in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        make_folder(self._path.parent)
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_WITHIN_S)) as database:
                database.execute("PRAGMA synchronous = FULL")
                database.executescript(_SCHEMA)
                with database:  # one transaction
                    yield database
            self._path.chmod(0o600)
        except sqlite3.IntegrityError as exc:
            raise ConfigInvalid("this serial is in use", code="serial_taken", hint="Repeat the command.") from exc
        except sqlite3.OperationalError as exc:
            raise Unavailable(
                f"{self._path}: {exc}", code="ledger_unavailable", hint="Is the disk full, or another command at work?"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise ConfigInvalid(
                f"{self._path} is damaged: {exc}", code="corrupt_file", hint="Restore it from a backup."
            ) from exc
