"""Samples in the spool: those that are in no batch yet, and the batches that the relay has not acknowledged.

A batch and the samples in it change places in one transaction: after any power cut a sample is in one of the two, and
in one alone. Bounded: beyond `most`, the oldest samples are thinned (agent.sampling.to_drop), and so they are before
the spool gives up a report for want of room.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from agent.sampling import to_drop
from protocol.codec import decode, encode
from protocol.errors import BadMessage
from protocol.samples import MAX_SAMPLES, Sample
from protocol.statement import Signed

if TYPE_CHECKING:
    from agent.spool import Spool

MAX_WAITING = 8192
"""Samples in no batch: five and a half days, one a minute, in half a MiB. After that the oldest are thinned."""

LEAST_WAITING = 64
"""So few are left alone: they are not what fills a spool."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS samples (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS batches (number INTEGER PRIMARY KEY, signed BLOB NOT NULL);
"""

BYTES = "(SELECT coalesce(sum(length(data)), 0) FROM samples) + (SELECT coalesce(sum(length(signed)), 0) FROM batches)"
"""What they take, as a term of a query."""

_LAST = "last_samples"


class Kept(msgspec.Struct, frozen=True):
    """id: by which the spool knows the sample."""

    id: int
    sample: Sample


class SampleSpool:
    """Raises what Spool raises: Unavailable, SpoolDamaged after a new one was begun."""

    def __init__(self, spool: Spool, *, most: int = MAX_WAITING) -> None:
        self._spool = spool
        self._most = most

    def add(self, samples: Iterable[Sample]) -> None:
        """Committed to the disk on return, the oldest thinned where there are too many."""
        rows = [(sample.at, encode(sample.values)) for sample in samples]
        self._spool.check_room(sum(len(data) for _, data in rows))
        with self._spool.transaction() as db:
            db.executemany("INSERT INTO samples (at, data) VALUES (?, ?)", rows)
            while _count(db) > max(self._most, LEAST_WAITING):
                thin(db)

    def oldest(self, limit: int = MAX_SAMPLES) -> list[Kept]:
        """In the order in which they were taken. What cannot be read any more holds nothing."""
        with self._spool.failures():
            query = "SELECT id, at, data FROM samples ORDER BY id LIMIT ?"
            rows = self._spool.db.execute(query, (limit,)).fetchall()
        found = []
        for id_, at, data in rows:
            try:
                found.append(Kept(id_, Sample(at, decode(data, dict[str, float]))))
            except BadMessage:
                found.append(Kept(id_, Sample(at, {})))  # a damage that SQLite does not see
        return found

    def newest_at(self) -> int:
        """The instant of the sample that was put here last, as far as it is in no batch; 0: there is none."""
        with self._spool.failures():
            row = self._spool.db.execute("SELECT at FROM samples ORDER BY id DESC LIMIT 1").fetchone()
        return row[0] if row else 0

    def next_number(self, relay_has: int) -> int:
        """For the next batch: above every one made here and `relay_has`, the relay's last."""
        return max(self._spool.state(_LAST), relay_has) + 1

    def last_number(self) -> int:
        return self._spool.state(_LAST)

    def put_batch(self, number: int, signed: Signed, ids: Sequence[int]) -> None:
        """Store a batch in the place of the samples `ids`, which are in it."""
        body = encode(signed)
        self._spool.check_room(len(body))
        with self._spool.transaction() as db:
            db.execute("INSERT INTO batches VALUES (?, ?)", (number, body))
            db.executemany("DELETE FROM samples WHERE id = ?", [(id_,) for id_ in ids])
            db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (_LAST, number))

    def batch(self, number: int) -> Signed | None:
        """None where it is not kept any more or cannot be read."""
        with self._spool.failures():
            row = self._spool.db.execute("SELECT signed FROM batches WHERE number = ?", (number,)).fetchone()
        try:
            return None if row is None else decode(row[0], Signed)
        except BadMessage:
            return None

    def batches(self) -> tuple[int, ...]:
        """Numbers of those that wait, ascending."""
        with self._spool.failures():
            rows = self._spool.db.execute("SELECT number FROM batches ORDER BY number").fetchall()
        return tuple(row[0] for row in rows)

    def forget(self, number: int) -> None:
        """The relay committed the batches up to this number, or will never take them."""
        with self._spool.transaction() as db:
            db.execute("DELETE FROM batches WHERE number <= ?", (number,))
        self._spool.give_back()

    def waiting(self) -> int:
        """How many samples are in no batch."""
        with self._spool.failures():
            return _count(self._spool.db)


def _count(db: sqlite3.Connection) -> int:
    count: int = db.execute("SELECT count(*) FROM samples").fetchone()[0]
    return count


def thin(db: sqlite3.Connection) -> bool:
    """Within a transaction: drop some of the oldest. False where there are too few for that to help."""
    ids = [id_ for (id_,) in db.execute("SELECT id FROM samples ORDER BY id")]
    if len(ids) <= LEAST_WAITING:
        return False
    db.executemany("DELETE FROM samples WHERE id = ?", [(id_,) for id_ in to_drop(ids)])
    return True
