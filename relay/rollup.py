"""How samples become coarser with age: pure. The store keeps what this says, and asks what to drop.

    signed batches, as they came      2 days
    five minutes: mean, least, most   30 days        folded when a batch is committed, in the same transaction,
    one hour: mean, least, most       2 years        so that what comes a day late is counted where it belongs

A chunk is what one row holds of one device: an hour of five-minute buckets, or a day of hours. Which samples are in a
bucket is their own instant's matter; that none is counted twice is the batch's number's (protocol/samples.py).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from protocol.codec import decode, encode
from protocol.errors import BadMessage
from protocol.samples import METRICS, Sample

DAY_S = 86_400

RAW_S = 2 * DAY_S
"""For which signed batches are kept."""

AHEAD_S = DAY_S
"""How far ahead a device's clock may be; samples that claim to be later are of no day that anybody will look at."""

MAX_CHUNK_BYTES = 256 * 1024
"""Twelve or twenty-four buckets of all metrics are 5 KiB, before they are compressed."""

DECIMALS = 3
"""Of sums: devices measure to a tenth, and what adding leaves behind that is noise which takes room."""


class Level(msgspec.Struct, frozen=True):
    """step_s: of a bucket.  chunk_s: of a row.  keep_s: after which a row goes."""

    step_s: int
    chunk_s: int
    keep_s: int

    def chunk_at(self, at: int) -> int:
        return at - at % self.chunk_s

    def bucket_at(self, at: int) -> int:
        return at - at % self.step_s


FIVE_MINUTES = Level(300, 3600, 30 * DAY_S)
HOUR = Level(3600, DAY_S, 2 * 365 * DAY_S)
LEVELS = (FIVE_MINUTES, HOUR)


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """One metric in one bucket."""

    count: int
    total: float
    least: float
    most: float

    @property
    def mean(self) -> float:
        return min(max(self.total / self.count, self.least), self.most)

    def with_value(self, value: float) -> Cell:
        total = round(self.total + value, DECIMALS)
        return Cell(self.count + 1, total, min(self.least, value), max(self.most, value))


Chunk = dict[int, dict[str, Cell]]
"""By a bucket's beginning (Unix seconds), by metric."""


def fold(chunk: Chunk, level: Level, samples: Iterable[Sample]) -> Chunk:
    """`chunk` with `samples` counted in it too."""
    folded = {at: dict(cells) for at, cells in chunk.items()}
    for sample in samples:
        cells = folded.setdefault(level.bucket_at(sample.at), {})
        for name, value in sample.values.items():
            if name in METRICS:
                cell = cells.get(name)
                cells[name] = cell.with_value(value) if cell is not None else Cell(1, value, value, value)
    return {at: cells for at, cells in sorted(folded.items()) if cells}


def by_chunk(level: Level, samples: Iterable[Sample]) -> Mapping[int, list[Sample]]:
    """The samples of each chunk, by its beginning."""
    chunks: dict[int, list[Sample]] = {}
    for sample in samples:
        chunks.setdefault(level.chunk_at(sample.at), []).append(sample)
    return chunks


def countable(level: Level, samples: Iterable[Sample], now: float) -> Iterator[Sample]:
    """Those that are not older than what is kept, nor of tomorrow. now: Unix seconds."""
    return (sample for sample in samples if kept_from(level, now) <= sample.at <= now + AHEAD_S)


def kept_from(level: Level, now: float) -> int:
    """The beginning of the oldest chunk that is still kept."""
    return level.chunk_at(max(0, int(now) - level.keep_s))


def raw_kept_from(now: float) -> int:
    """A batch whose last sample is older goes."""
    return int(now) - RAW_S


def level_for(since_at: float, now: float) -> Level | None:
    """The finest level that reaches back so far; None: the batches themselves."""
    if since_at >= raw_kept_from(now):
        return None
    return FIVE_MINUTES if since_at >= kept_from(FIVE_MINUTES, now) else HOUR


def write_chunk(chunk: Chunk) -> bytes:
    """For a row: compressed, since there are many and nobody reads most of them."""
    return zlib.compress(encode({str(at): cells for at, cells in chunk.items()}))


def read_chunk(data: bytes) -> Chunk:
    """Of a row. What is damaged counts as empty: it is the past of one device, and no reason to refuse its present."""
    try:
        return decode(zlib.decompressobj().decompress(data, MAX_CHUNK_BYTES), Chunk, limit=MAX_CHUNK_BYTES)
    except (BadMessage, zlib.error):
        return {}
