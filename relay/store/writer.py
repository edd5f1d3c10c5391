"""The one writer: group commit. What `write` returned is on disk.

Jobs queue up while a transaction is being synced; the next transaction takes them all. So the price of a sync is
shared by whoever waits, and no two writers contend. A job that fails is undone alone (a savepoint); a commit that
fails fails them all, and none of them has happened.

What takes long (inventories) waits in a line of its own and gets transactions of its own, one after each of the
others': so whatever else is written waits for a bounded piece of it at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from protocol.errors import AuxilioError
from relay import logs
from relay.failures import Busy, StoreFailed
from relay.store.engine import Database, translated

T = TypeVar("T")
Job = Callable[[Connection], T]
"""What to do in a transaction: a plain function. It runs in the writer's thread and touches nothing of the loop's."""

MAX_BATCH = 128
"""Jobs in one transaction: at 0.3 ms each, nobody waits longer than a slow disk's sync."""

MAX_QUEUED = 20_000
"""Beyond it the database is not keeping up, and whoever asks is told so."""


BULK_ROWS = 8_000
"""Written in one transaction of bulk: at 5 us each, 40 ms."""


class _Item:
    """rows: of bulk, about how many it writes; 0: it is none."""

    __slots__ = ("done", "job", "rows")

    def __init__(self, job: Job[Any], done: asyncio.Future[Any], rows: int) -> None:
        self.job = job
        self.done = done
        self.rows = rows


class Writer:
    """Runs `run` in a task of its own; `close` lets it finish what is queued."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: asyncio.Queue[_Item | None] = asyncio.Queue()
        self._bulk: deque[_Item] = deque()
        self._closed = False
        self.commits = 0

    @property
    def queued(self) -> int:
        return self._queue.qsize() + len(self._bulk)

    async def write(self, job: Job[T]) -> T:
        """Run `job` in a transaction; return its result once that is committed.

        Raises what the job raised, or StoreFailed, StoreFull: then nothing of it was kept.
        """
        result: T = await self._put(job)
        return result

    async def write_bulk(self, job: Job[T], rows: int) -> T:
        """As `write`, for what writes much: some `rows`, of which a job has BULK_ROWS at most. Others go first."""
        result: T = await self._put(job, max(1, rows))
        return result

    def write_soon(self, job: Job[object], what: str) -> None:
        """As `write`, for what nobody waits for; after what was queued before. A failure is logged under `what`."""

        def done(future: asyncio.Future[object]) -> None:
            error = None if future.cancelled() else future.exception()
            if isinstance(error, AuxilioError):
                logs.warning("store_failed", what=what, error=error.message)
            elif error is not None:
                logs.bug("store_failed", error, what=what)

        try:
            self._put(job).add_done_callback(done)
        except AuxilioError as exc:
            logs.warning("store_failed", what=what, error=exc.message)

    def _put(self, job: Job[Any], rows: int = 0) -> asyncio.Future[Any]:
        if self._closed:
            raise StoreFailed("the relay is stopping")
        if self._queue.qsize() >= MAX_QUEUED:
            raise Busy("the relay's database does not keep up", retry_after_s=5.0)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        item = _Item(job, future, rows)
        if rows:
            self._bulk.append(item)
        self._queue.put_nowait(item)  # bulk, to wake the writer
        return future

    def close(self) -> None:
        """Take no more; `run` returns when what is queued is committed."""
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)

    async def run(self) -> None:
        last = False
        while not last or self._bulk:
            batch: list[_Item] = []
            # Where bulk is left and nothing else waits, it goes on at once.
            while not (self._queue.empty() and (batch or self._bulk)) and len(batch) < MAX_BATCH:
                item = await self._queue.get()
                if item is None:
                    last = True
                    break
                if not item.rows and not item.done.cancelled():
                    batch.append(item)
            if batch:
                await self._commit(batch)
            if bulk := self._take_bulk():
                await self._commit(bulk)

    def _take_bulk(self) -> list[_Item]:
        taken: list[_Item] = []
        rows = 0
        while self._bulk and (not taken or rows + self._bulk[0].rows <= BULK_ROWS):
            item = self._bulk.popleft()
            if not item.done.cancelled():
                taken.append(item)
                rows += item.rows
        return taken

    async def _commit(self, batch: list[_Item]) -> None:
        try:
            outcomes = await self._database.write(lambda connection: _run_all(connection, batch))
            self.commits += 1
        except Exception as exc:
            error = exc if isinstance(exc, AuxilioError) else StoreFailed("the relay's database failed")
            if error is not exc:
                logs.bug("commit_failed", exc)
            for item in batch:
                _settle(item, None, error)
            return
        for item, (result, failure) in zip(batch, outcomes, strict=True):
            _settle(item, result, failure)


def _run_all(connection: Connection, batch: list[_Item]) -> list[tuple[Any, Exception | None]]:
    return [_run_one(connection, item) for item in batch]


def _run_one(connection: Connection, item: _Item) -> tuple[Any, Exception | None]:
    """A failed job is rolled back to its savepoint; if even that fails, the whole transaction does."""
    savepoint = connection.begin_nested()
    try:
        with translated():
            result = item.job(connection)
            savepoint.commit()
    except StoreFailed:
        raise  # a full disk has rolled everything back already
    except Exception as exc:
        savepoint.rollback()
        return None, exc
    return result, None


def _settle(item: _Item, result: Any, error: BaseException | None) -> None:
    if item.done.done():
        return
    if error is not None:
        item.done.set_exception(error)
    else:
        item.done.set_result(result)
