"""Which bytes of a file have to travel: decided from sizes, hashes and holes. Pure.

A file is chunks of CHUNK bytes, the last one shorter; each is compared, sent and verified on its own. Within a chunk
only runs of data travel, in pieces: a hole is neither read nor sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from protocol.errors import BadMessage
from protocol.sftp import HASH_CHUNK_BYTES

CHUNK = HASH_CHUNK_BYTES

PIECE_BYTES = 208 * 1024
"""A fifth of a chunk in whole pages: the fewest requests of equal size below MAX_DATA_BYTES."""

MAX_RUNS = 1 << 16
"""Of one file. A file in more fragments is copied densely from there on: a list takes 8 MiB of memory."""

EMPTY_CHUNK = sha256(bytes(CHUNK)).digest()


class Run(NamedTuple):
    """Bytes from `start` up to `end` that are no hole."""

    start: int
    end: int


def chunk_count(size: int) -> int:
    return -(-size // CHUNK)


def chunk_bounds(index: int, size: int) -> tuple[int, int]:
    return index * CHUNK, min((index + 1) * CHUNK, size)


def checked_runs(extents: Iterable[tuple[int, int]], after: int, size: int) -> list[Run]:
    """What a device says of its holes, cut to the size it announced. Raises BadMessage where it is not ascending."""
    runs: list[Run] = []
    for offset, length in extents:
        if offset < after or length <= 0 or offset + length > 2**63:
            raise BadMessage("runs of data that are not in order", code="bad_extents")
        after = offset + length
        if offset < size:
            runs.append(Run(offset, min(after, size)))
    return runs


def chunks_with_data(runs: Sequence[Run]) -> Iterator[int]:
    """Ascending, each once."""
    next_index = 0
    for run in runs:
        first, last = max(run.start // CHUNK, next_index), (run.end - 1) // CHUNK
        yield from range(first, last + 1)
        next_index = max(next_index, last + 1)


def empty_spans(runs: Sequence[Run], size: int) -> Iterator[tuple[int, int]]:
    """(first, past last) of the chunks in between, which are holes from end to end."""
    at = 0
    for run in runs:
        first = run.start // CHUNK
        if first > at:
            yield at, first
        at = max(at, (run.end - 1) // CHUNK + 1)
    if at < chunk_count(size):
        yield at, chunk_count(size)


def pieces(runs: Sequence[Run], start: int, end: int, limit: int = PIECE_BYTES) -> list[tuple[int, int]]:
    """(offset, length) of the data between `start` and `end`, none longer than `limit`."""
    found: list[tuple[int, int]] = []
    for run in runs[_first_ending_after(runs, start) :]:
        if run.start >= end:
            break
        at, stop = max(run.start, start), min(run.end, end)
        while at < stop:
            found.append((at, min(limit, stop - at)))
            at += limit
    return found


def _first_ending_after(runs: Sequence[Run], offset: int) -> int:
    low, high = 0, len(runs)
    while low < high:
        middle = (low + high) // 2
        if runs[middle].end <= offset:
            low = middle + 1
        else:
            high = middle
    return low


def empty_digest(index: int, size: int) -> bytes:
    """Of a chunk that is a hole."""
    start, end = chunk_bounds(index, size)
    return EMPTY_CHUNK if end - start == CHUNK else sha256(bytes(end - start)).digest()


def differing(first: int, mine: Sequence[bytes], theirs: Sequence[bytes]) -> list[int]:
    """Indexes from `first` on of chunks whose hashes are not both there and equal."""
    count = max(len(mine), len(theirs))
    return [first + i for i in range(count) if i >= len(mine) or i >= len(theirs) or mine[i] != theirs[i]]
