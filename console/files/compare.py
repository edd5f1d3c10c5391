"""What both sides have of a file, by hashes: the same question for both directions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from console.files import local
from console.files.local import off_loop
from console.files.many import both
from console.files.plan import CHUNK, Run, chunk_bounds, chunk_count, differing, empty_digest, empty_spans
from console.files.remote import HASHES_AT_ONCE, Changed, Handle, Remote
from console.files.tally import Tally

TRIES = 2
"""Of a file that changes while it is copied."""

CHUNKS_AT_ONCE = 16
"""Of one file; the budget of the conversation is the real bound."""

INLINE_BYTES = 128 * 1024
"""Below it a thread costs more than the work."""


async def differing_chunks(
    remote: Remote, handle: Handle, fd: int, size: int, tally: Tally | None = None
) -> AsyncGenerator[int, None]:
    """The chunks of a file of `size` bytes that our `fd` and the device's `handle` do not both have, ascending.

    tally: credited with those that they have.
    """
    for first in range(0, chunk_count(size), HASHES_AT_ONCE):
        last = min(first + HASHES_AT_ONCE, chunk_count(size))
        asked = remote.digests(handle, first, last, size)
        if size <= INLINE_BYTES:
            theirs, mine = await asked, local.digests(fd, first, last, size)
        else:
            theirs, mine = await both(asked, off_loop(local.digests, fd, first, last, size))
        others = differing(first, mine, theirs)
        if tally is not None:
            tally.settled += min(last * CHUNK, size) - first * CHUNK - sum(_length(index, size) for index in others)
        for index in others:
            yield index


def _length(index: int, size: int) -> int:
    start, end = chunk_bounds(index, size)
    return end - start


async def is_same(remote: Remote, handle: Handle, fd: int, size: int) -> bool:
    """Whether the first `size` bytes are the same on both sides."""
    async with aclosing(differing_chunks(remote, handle, fd, size)) as chunks:
        async for _ in chunks:
            return False
    return True


async def verify_holes(remote: Remote, handle: Handle, runs: Sequence[Run], size: int, tally: Tally) -> None:
    """Raises Changed where the device has data in what both sides took for a hole."""
    for begin, stop in empty_spans(runs, size):
        for first in range(begin, stop, HASHES_AT_ONCE):
            last = min(first + HASHES_AT_ONCE, stop)
            if remote.verifies:
                theirs = await remote.digests(handle, first, last, size)
                if differing(first, [empty_digest(index, size) for index in range(first, last)], theirs):
                    raise Changed("it has data where it had none")
            tally.settled += min(last * CHUNK, size) - first * CHUNK
