"""The one module that knows that the database is SQLite.

WAL, so that readers never wait for the writer; synchronous=FULL, so that what was committed survives a power cut (in
WAL, NORMAL would not sync at a commit). One process owns the database: a lock file beside it says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Select,
    Subquery,
    Table,
    Text,
    column,
    create_engine,
    event,
    func,
    select,
    true,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from protocol.errors import AuxilioError, ConfigInvalid
from relay.failures import StoreFailed, StoreFull

T = TypeVar("T")

READERS = 4
"""Reading connections, each with a thread of its own. Reads are short, and two cores gain little from more."""

BUSY_TIMEOUT_MS = 10_000
"""`auxilio-relay organisation add` writes while the relay runs; each waits for the other's short transaction."""

CACHE_KIB = 32 * 1024
WAL_CHECKPOINT_PAGES = 4_000
WAL_BYTES = WAL_CHECKPOINT_PAGES * 4096
"""16 MiB of log before it is folded back: a burst of reports is not interrupted every megabyte."""


class Database:
    """Open with `open_database`. Work on it is plain functions of a Connection, which run in threads of their own.

    A thread a connection, and not an asyncio driver: that one crosses between threads six times a statement (measured:
    1.2 ms instead of 0.1). The functions know nothing of it, so a database with a real asyncio driver can run the
    same ones by SQLAlchemy's run_sync.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_engine = _engine(path, writes=True)
        self._read_engine = _engine(path, writes=False)
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = ThreadPoolExecutor(READERS, "store-reader")

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Return what `job` reads. It sees one committed state throughout."""
        return await self.begin_read(job)

    def begin_read(self, job: Callable[[Connection], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run `job` in a transaction; return its result when that is committed and synced to disk.

        For the writer (writer.py), which makes many jobs one, and for migrations.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._write, job)

    def _read(self, job: Callable[[Connection], T]) -> T:
        with translated(), self._read_engine.connect() as connection:
            return job(connection)

    def _write(self, job: Callable[[Connection], T]) -> T:
        with translated(), self._write_engine.begin() as connection:
            return job(connection)

    def close(self) -> None:
        """Waits for what runs."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._read_engine.dispose()
        self._write_engine.dispose()


def _engine(path: Path, *, writes: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        pool_size=1 if writes else READERS,
        max_overflow=0,
        pool_timeout=30,
        hide_parameters=True,  # an exception's text ends in the log, and parameters hold what must not
    )

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        # pysqlite would begin transactions by its own rules; we say BEGIN ourselves, below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"cache_size=-{CACHE_KIB if writes else CACHE_KIB // READERS}",
            f"wal_autocheckpoint={WAL_CHECKPOINT_PAGES}",
            "temp_store=MEMORY",
            f"query_only={'OFF' if writes else 'ON'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the database become ours: StoreFull or StoreFailed. Violated constraints stay what they are: bugs."""
    try:
        yield
    except DBAPIError as exc:
        error = _translated(exc.orig)
        if error is None:
            raise
        raise error from exc
    except sqlite3.Error as exc:
        raise _translated(exc) or StoreFailed("the relay's database failed") from exc


def _translated(error: BaseException | None) -> AuxilioError | None:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL:
        return StoreFull("the relay's disk is full")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ConfigInvalid(
            "the relay's database is damaged",
            code="store_corrupt",
            hint="Stop the relay, keep the file, and restore a backup (docs/relay.md, Backup).",
        )
    if isinstance(error, sqlite3.OperationalError):
        return StoreFailed("the relay's database does not take it now", hint="`auxilio-relay check` says why.")
    return None


async def open_database(path: Path) -> Database:
    """Raises ConfigInvalid where the file is no database or cannot be opened."""
    if not path.parent.is_dir():
        raise ConfigInvalid(f"there is no directory {path.parent}", hint="[store] database names the file.")
    _make_private(path)
    database = Database(path)
    try:
        await database.read(lambda connection: connection.exec_driver_sql("SELECT count(*) FROM sqlite_master"))
    except StoreFailed as exc:
        database.close()
        raise ConfigInvalid(
            f"cannot open the database {path}", hint="It must be a file that the relay's user may write."
        ) from exc
    except BaseException:
        database.close()
        raise
    return database


def _make_private(path: Path) -> None:
    """Create the file for its owner alone: it holds what devices report, and who reached whom."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as exc:
        raise ConfigInvalid(
            f"cannot open the database {path}: {exc.strerror}",
            hint="It must be a file that the relay's user may write.",
        ) from exc


def integers(values: Iterable[int]) -> Select[tuple[int]]:
    """`values` as a query, for IN and FROM: one parameter, however many there are. (SQLite's JSON1.)"""
    each = func.json_each(json.dumps(list(values))).table_valued(column("value", BigInteger))
    return select(each.c.value)


def texts(rows: Iterable[Sequence[str]], width: int) -> Subquery:
    """`rows` of `width` texts each as a table for FROM, likewise: `position` (from 0), `text0`, `text1` ..."""
    each = func.json_each(json.dumps([list(row) for row in rows])).table_valued(
        column("key", BigInteger), column("value", Text)
    )
    columns = [func.json_extract(each.c.value, f"$[{number}]").label(f"text{number}") for number in range(width)]
    return select(each.c.key.label("position"), *columns).subquery()


def upsert(table: Table, query: Select[Any], **set_: ColumnElement[Any]) -> Insert:
    """Insert the rows of `query`; where a row with such a key is there, set these columns of it instead."""
    # SQLite takes ON CONFLICT after a SELECT for a join's condition unless there is a WHERE (lang_upsert, 2.2).
    statement = sqlite.insert(table).from_select(list(table.c.keys()), query.where(true()))
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=set_)


def integrity(connection: Connection) -> str:
    """The first damage that the database finds in itself, or ""."""
    found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
    return "" if found == "ok" else found


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Hold the database for this process. Raises ConfigInvalid (already_running) where another one does."""
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as exc:
        raise ConfigInvalid(f"cannot open {lock}: {exc.strerror}", hint="Is the directory the relay's own?") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigInvalid(
                f"another relay is running on {path}",
                code="already_running",
                hint="Stop it first; one database has one relay.",
            ) from exc
        yield
    finally:
        # The kernel lets go of the lock however the process ends; the file stays, and means nothing by itself.
        with contextlib.suppress(OSError):
            os.close(descriptor)


def is_owned(path: Path) -> bool:
    """Whether a relay runs on this database now."""
    try:
        with owned(path):
            return False
    except ConfigInvalid as exc:
        return exc.reason == "already_running"
