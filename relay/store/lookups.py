"""Look-ups of a row by its key, many in one visit to a thread.

Each costs the database tens of microseconds, and a thread that is woken for it hundreds, in which it takes the
interpreter from the loop. So while one visit is under way, what is asked meanwhile waits for the next one, and that
takes them all. Where little is asked, nobody waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from relay.store.engine import Database

T = TypeVar("T")
_Asked = tuple[Callable[[Connection], Any], "asyncio.Future[Any]"]
_Outcome = tuple[Any, BaseException | None]

MAX_BATCH = 64
"""In one visit: nobody waits for more than a few milliseconds of others' work."""


class Lookups:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: list[_Asked] = []
        self._visiting = False

    async def read(self, job: Callable[[Connection], T]) -> T:
        """job: reads a row or a few by their key. Raises what it raised, or StoreFailed."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.append((job, future))
        if not self._visiting:
            self._visit()
        return await future

    def _visit(self) -> None:
        batch, self._asked = self._asked[:MAX_BATCH], self._asked[MAX_BATCH:]
        self._visiting = bool(batch)
        if batch:
            visit = self._database.begin_read(lambda connection: [_outcome(connection, job) for job, _ in batch])
            visit.add_done_callback(lambda visited: self._answer(batch, visited))

    def _answer(self, batch: list[_Asked], visited: asyncio.Future[list[_Outcome]]) -> None:
        error = visited.exception()
        found = visited.result() if error is None else [(None, error)] * len(batch)
        for (_, future), (result, failure) in zip(batch, found, strict=True):
            if future.done():
                continue  # whoever asked has gone
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(result)
        self._visit()


def _outcome(connection: Connection, job: Callable[[Connection], Any]) -> _Outcome:
    try:
        return job(connection), None
    except Exception as exc:
        return None, exc
