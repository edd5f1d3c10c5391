"""Which bytes travel, how many at a time, and what a person reads of it."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.files.client import Budget, Client, SftpFailure
from console.files.plan import (
    CHUNK,
    EMPTY_CHUNK,
    PIECE_BYTES,
    Run,
    checked_runs,
    chunk_count,
    chunks_with_data,
    differing,
    empty_digest,
    empty_spans,
    pieces,
)
from console.files.progress import Rate, line_of
from console.files.tally import Tally
from protocol.errors import BadMessage, Unavailable
from protocol.sftp import MAX_DATA_BYTES, Kind, Packets, Status, packet
from protocol.sshwire import string, u32


@st.composite
def files(draw: st.DrawFn) -> tuple[int, list[Run]]:
    """A size, and runs of data in it."""
    size = draw(st.integers(0, 12 * CHUNK))
    edges = sorted(set(draw(st.lists(st.integers(0, size), max_size=20))))
    return size, [Run(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]


@given(files())
def test_every_chunk_is_either_sent_or_known_to_be_empty(file: tuple[int, list[Run]]) -> None:
    size, runs = file
    sent = list(chunks_with_data(runs))
    empty = [index for first, last in empty_spans(runs, size) for index in range(first, last)]
    assert sorted(sent + empty) == list(range(chunk_count(size)))


@given(files(), st.integers(CHUNK // 50, 2 * CHUNK))
def test_the_pieces_of_the_chunks_are_the_data(file: tuple[int, list[Run]], limit: int) -> None:
    size, runs = file
    covered: list[tuple[int, int]] = []
    for index in chunks_with_data(runs):
        for offset, length in pieces(runs, index * CHUNK, min((index + 1) * CHUNK, size), limit):
            assert 0 < length <= limit and offset // CHUNK == (offset + length - 1) // CHUNK == index
            if covered and covered[-1][1] == offset:
                covered[-1] = (covered[-1][0], offset + length)
            else:
                covered.append((offset, offset + length))
    assert sum(b - a for a, b in covered) == sum(b - a for a, b in runs)
    assert all(any(run.start <= a and b <= run.end for run in runs) or a in {r.start for r in runs} for a, b in covered)


def test_a_chunk_is_five_pieces_that_every_server_of_ours_takes() -> None:
    assert len(pieces([Run(0, CHUNK)], 0, CHUNK)) == 5 and PIECE_BYTES <= MAX_DATA_BYTES


def test_runs_are_cut_to_the_size_and_must_ascend() -> None:
    assert checked_runs([(0, 5), (10, 100), (200, 5)], 0, 50) == [Run(0, 5), Run(10, 50)]
    for bad in ([(0, 0)], [(5, 5), (9, 1)], [(0, 2**63 + 1)], [(2**64 - 1, 1)]):
        with pytest.raises(BadMessage):
            checked_runs(bad, 0, 2**62)
    with pytest.raises(BadMessage):
        checked_runs([(4, 5)], 5, 100)


def test_chunks_differ_where_a_hash_is_missing_or_another() -> None:
    assert differing(7, [b"a", b"b"], [b"a", b"x", b"c"]) == [8, 9]
    assert differing(0, [b"a", b"b"], [b"a"]) == [1]
    assert empty_digest(0, 2 * CHUNK) == EMPTY_CHUNK
    assert empty_digest(1, CHUNK + 7) == hashlib.sha256(bytes(7)).digest()


async def test_a_budget_is_served_in_order_and_survives_who_gives_up() -> None:
    budget, order = Budget(10), list[str]()

    async def take(name: str, count: int) -> None:
        async with budget.take(count):
            order.append(name)
            await asyncio.sleep(0)

    async with budget.take(6):
        wanted = {"large": 8, "gone": 3, "small": 1}
        waiting = [asyncio.ensure_future(take(name, count)) for name, count in wanted.items()]
        await asyncio.sleep(0)
        assert not order  # small would fit, and still waits its turn
        waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == ["large", "small"]
    async with asyncio.timeout(5), budget.take(1000):  # more than there is: alone
        pass


class _Wire:
    def __init__(self) -> None:
        self.sent = b""
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.sent += data
        self.writes += 1

    async def writable(self) -> None:
        pass


async def _started() -> tuple[Client, _Wire, asyncio.Task[None]]:
    wire = _Wire()
    client = Client(wire)
    running = asyncio.ensure_future(client.run())
    return client, wire, running


async def test_small_requests_share_a_write_and_replies_may_come_in_any_order() -> None:
    client, wire, running = await _started()
    asked = [client.ask(Kind.STAT, string(b"%d" % number)) for number in range(10)]
    await asyncio.sleep(0)
    requests = list(Packets().feed(wire.sent))
    assert wire.writes == 1 and len(requests) == 10
    replies = b"".join(packet(Kind.STATUS, r.number, u32(Status.OK), string(r.body)) for r in reversed(requests))
    for at in range(0, len(replies), 7):  # however they are cut
        client.feed(replies[at : at + 7])
    assert [(await future).number for future in asked] == [request.number for request in requests]
    running.cancel()


async def test_whoever_waits_hears_of_the_end_and_whoever_asks_later_too() -> None:
    client, _, running = await _started()
    asked = client.ask(Kind.STAT, string(b"x"))
    client.lose(Unavailable("gone"))
    client.lose(Unavailable("again"))
    for attempt in (lambda: asked, lambda: client.ask(Kind.STAT, string(b"y"))):
        with pytest.raises(Unavailable, match="gone"):
            await attempt()
    client.feed(b"nonsense")
    running.cancel()


def test_a_refusal_says_what_it_is() -> None:
    assert SftpFailure(Status.NO_SUCH_FILE, "x").message == "no such file"
    assert SftpFailure(Status.FAILURE, "No space\x1b left").message == "No space\\x1b left"
    assert SftpFailure(Status.FAILURE, "").message == "it failed there"


def test_the_progress_line_fits_and_says_how_long_yet() -> None:
    tally = Tally()
    for _ in range(2000):
        tally.expect(1 << 20)
    tally.copied, tally.settled, tally.current = 500, 500 << 20, "some/very/long/path/" * 10
    line = line_of(tally, 50 << 20, 120)
    assert line.startswith("500 of 2,000 files  500 MiB of 2 GiB  50 MiB/s  30 s left  …")
    assert all(len(line_of(tally, 1e9, columns)) < columns for columns in range(10, 200))
    tally.settled = 10**12  # what was sent twice is not more than all
    assert "2 GiB of 2 GiB" in line_of(tally, 0.0, 80)


def test_the_rate_is_right_at_once_and_follows() -> None:
    rate = Rate(0.0)
    rate.saw(100, 1.0)
    assert rate.per_s == 100
    for second in range(2, 40):
        rate.saw(100 + (second - 1) * 1000, float(second))
    assert 990 < rate.per_s <= 1000
    rate.saw(50, 40.0)  # less than before: never below zero
    rate.saw(50, 40.0)
    assert rate.per_s >= 0
