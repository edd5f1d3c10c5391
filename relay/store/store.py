"""The store as the rest of the relay knows it: read what is committed, write what then is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from protocol.ids import OrganisationId
from relay.store.engine import Database
from relay.store.lookups import Lookups
from relay.store.turns import Turns
from relay.store.writer import Writer

T = TypeVar("T")


class Store:
    """Jobs are plain functions of a Connection (the modules beside this one), run in the database's threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.writer = Writer(database)
        self._lookups = Lookups(database)
        self._turns = Turns()

    async def read(self, job: Callable[[Connection], T]) -> T:
        return await self._database.read(job)

    async def look_up(self, job: Callable[[Connection], T]) -> T:
        """As `read`, for a row by its key, which thousands may want at once."""
        return await self._lookups.read(job)

    async def search(self, organisation: OrganisationId, job: Callable[[Connection], T]) -> T:
        """As `read`, for what may look at a whole fleet: in turn. Raises Quota."""
        return await self._turns.run(organisation, lambda: self._database.read(job))

    async def write(self, job: Callable[[Connection], T]) -> T:
        """When it returns, what `job` did is on disk. Raises what the job raised, or StoreFailed, StoreFull."""
        return await self.writer.write(job)

    async def write_bulk(self, job: Callable[[Connection], T], rows: int) -> T:
        """As `write`, for what writes many `rows`: it lets others go first."""
        return await self.writer.write_bulk(job, rows)

    def write_soon(self, job: Callable[[Connection], object], what: str) -> None:
        """For what nobody waits for. In order with every other write."""
        self.writer.write_soon(job, what)


def storable(text: str, limit: int) -> str:
    """A stranger's text as every database takes it: bounded, no NUL, nothing that is no Unicode character."""
    if text.isascii() and len(text) <= limit and "\0" not in text:
        return text  # as nearly all are
    return text[:limit].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


MAX_NUMBER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact; databases end at 2**63."""


def storable_number(number: int) -> int:
    """A stranger's count or instant as every database takes it."""
    return min(max(number, 0), MAX_NUMBER)
