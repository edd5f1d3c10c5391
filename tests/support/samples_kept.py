"""What a relay keeps of a device's samples, read from its database; and a clock that a test sets forward."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from protocol.codec import decode
from protocol.samples import SampleBatch
from protocol.statement import Signed
from relay.rollup import read_chunk


class SetClock:
    """Both of an agent's clocks, at `at` until `advance`."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


def raw_instants(database: Path, device: str) -> list[int]:
    """Of every sample in the batches that are kept, in the order of the batches' numbers."""
    query = "SELECT signed FROM sample_batches WHERE device = ? ORDER BY number"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(query, (device,)).fetchall()
    batches = [decode(decode(data, Signed).payload, SampleBatch) for (data,) in rows]
    return [at for batch in batches for at in batch.at]


def counted(database: Path, device: str, step: int, metric: str = "memory_percent") -> int:
    """How many samples of a metric are in the roll-ups of this step."""
    query = "SELECT data FROM sample_rollups WHERE device = ? AND step = ?"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        chunks = [read_chunk(data) for (data,) in connection.execute(query, (device, step))]
    return sum(cells[metric].count for chunk in chunks for cells in chunk.values() if metric in cells)
