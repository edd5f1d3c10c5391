"""Blobs: whose they are, how long they stay, and what an upload may take."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select

from protocol.errors import BadMessage, Refused
from protocol.ids import Sha256
from relay.failures import Quota, StoreFull, TooLarge, TooMany
from relay.store import blobs
from relay.store.tables import blob_owners, blob_pieces, report_sections
from relay.store.tables import blobs as blob_rows
from relay.uploads import (
    MAX_BLOB_BYTES,
    MAX_UNFINISHED_PER_ORGANISATION,
    MAX_UNFINISHED_PER_OWNER,
    UNFINISHED_LIFE_S,
    OffsetDiffers,
    Uploads,
    sweep,
)
from tests.support.store_world import A, B, fresh_store


class StillClock:
    def __init__(self) -> None:
        self.at = 1_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def name_of(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


def named_by_report(connection: Connection, device: str, name: Sha256) -> None:
    connection.execute(
        insert(report_sections).values(
            organisation=A, device=device, number=1, name="memory", sha256=name, size=1, collected_at=0
        )
    )


def uploads(
    store, folder: Path, clock: StillClock, *, owner: int = 64 << 20, share: int = 1 << 30, total: int = 1 << 30
) -> Uploads:
    bounds = {"per_owner_bytes": owner, "per_organisation_bytes": share, "total_bytes": total}
    return Uploads(folder / "uploads", store, clock, **bounds)


async def test_a_blob_comes_back_whole_from_any_offset_on() -> None:
    data = hashlib.shake_128(b"x").digest(3 * blobs.PIECE_BYTES + 17)
    name = name_of(data)
    pieces = [data[i : i + blobs.PIECE_BYTES] for i in range(0, len(data), blobs.PIECE_BYTES)]
    async with fresh_store() as (store, _):
        await store.write(lambda c: blobs.keep(c, A, "d", name, pieces, len(data), 0))
        assert await store.read(lambda c: blobs.read_whole(c, A, name)) == data
        for offset in (0, 1, blobs.PIECE_BYTES - 1, blobs.PIECE_BYTES, len(data) - 1):
            got, position = b"", offset
            while piece := await store.read(lambda c, p=position: blobs.read_piece(c, A, name, p)):
                got += piece
                position += len(piece)
            assert got == data[offset:]
        assert await store.read(lambda c: blobs.read_piece(c, B, name, 0)) is None
        assert await store.read(lambda c: blobs.owns(c, A, "e", name)) is None


async def test_what_no_report_names_is_dropped_after_a_while_and_what_one_names_stays(tmp_path: Path) -> None:
    clock = StillClock()
    async with fresh_store() as (store, _):
        for data, owner in ((b"named", "d"), (b"stray", "d"), (b"shared", "d"), (b"shared", "e")):
            await store.write(lambda c, d=data, o=owner: blobs.keep(c, A, o, name_of(d), [d], len(d), clock.at))
        await store.write(lambda c: named_by_report(c, "d", name_of(b"named")))
        await store.write(lambda c: named_by_report(c, "e", name_of(b"shared")))
        assert await sweep(store, clock) == 0
        clock.at += blobs.UNNEEDED_AFTER_S + 1
        await store.write(lambda c: blobs.keep(c, A, "f", name_of(b"fresh"), [b"fresh"], 5, clock.at))
        assert await sweep(store, clock) == 2

        def left(connection: Connection) -> set[str]:
            assert connection.execute(select(func.count()).select_from(blob_pieces)).scalar() == 3
            assert connection.execute(select(func.count()).select_from(blob_owners)).scalar() == 3
            return {row.sha256 for row in connection.execute(select(blob_rows.c.sha256))}

        assert await store.read(left) == {name_of(d) for d in (b"named", b"shared", b"fresh")}


async def test_an_upload_goes_on_where_it_was_cut_and_is_kept_only_if_its_hash_is_right(tmp_path: Path) -> None:
    async with fresh_store() as (store, _):
        made = uploads(store, tmp_path, StillClock())
        data = b"0123456789"
        key = (A, "d", name_of(data))
        assert not await made.put(key, 0, 10, chunks(b"012", b"34"))
        assert made.offset(key) == 5
        with pytest.raises(OffsetDiffers) as exc:
            await made.put(key, 7, 10, chunks(b"789"))
        assert exc.value.offset == 5
        assert await made.put(key, 5, 10, chunks(b"56789"))
        assert made.offset(key) is None
        assert await store.read(lambda c: blobs.read_whole(c, A, key[2])) == data
        other = (A, "d", name_of(b"something else"))
        with pytest.raises(BadMessage) as wrong:
            await made.put(other, 0, 10, chunks(data))
        assert wrong.value.reason == "wrong_hash" and made.offset(other) is None
        with pytest.raises(TooLarge):
            await made.put(other, 0, 5, chunks(data))
        assert list((tmp_path / "uploads").iterdir()) == []


async def test_an_owner_and_all_owners_have_their_bounds(tmp_path: Path) -> None:
    clock = StillClock()
    async with fresh_store() as (store, _):
        made = uploads(store, tmp_path, clock, owner=1000, total=1500)
        with pytest.raises(TooLarge):
            await made.put((A, "d", name_of(b"")), 0, MAX_BLOB_BYTES + 1, chunks())
        with pytest.raises(Refused) as quota:
            await made.put((A, "d", name_of(b"")), 0, 1001, chunks())
        assert quota.value.reason == "blob_quota"
        big = b"x" * 900
        await made.put((A, "d", name_of(big)), 0, 900, chunks(big))
        with pytest.raises(Refused):
            await made.put((A, "d", name_of(b"y")), 0, 200, chunks())
        with pytest.raises(StoreFull):
            await made.put((A, "e", name_of(b"y")), 0, 700, chunks())
        for number in range(MAX_UNFINISHED_PER_OWNER):
            await made.put((A, "e", name_of(bytes([number]))), 0, 10, chunks(b"x"))
        with pytest.raises(TooMany):
            await made.put((A, "e", name_of(b"more")), 0, 10, chunks(b"x"))
        clock.at += UNFINISHED_LIFE_S + 1
        assert not await made.put((A, "e", name_of(b"more")), 0, 10, chunks(b"x"))


async def test_an_organisation_that_has_its_share_leaves_the_rest_to_others(tmp_path: Path) -> None:
    async with fresh_store() as (store, _):
        made = uploads(store, tmp_path, StillClock(), share=1000, total=2000)
        first = b"x" * 600
        assert await made.put((A, "d", name_of(first)), 0, 600, chunks(first))
        # What is announced counts, from whichever device; going on with it does not count twice.
        begun = (A, "e", name_of(b"y" * 300))
        assert not await made.put(begun, 0, 300, chunks(b"y"))
        assert not await made.put(begun, 1, 300, chunks(b"y"))
        with pytest.raises(Quota) as quota:
            await made.put((A, "f", name_of(b"z")), 0, 101, chunks(b"z"))
        assert quota.value.reason == "quota" and quota.value.organisation == A
        assert "blobs_per_organisation_mib" in quota.value.hint
        for owner in ("d", "e"):
            assert not await made.put((B, owner, name_of(b"theirs")), 0, 500, chunks(b"t"))
        with pytest.raises(Quota):
            await made.put((B, "f", name_of(b"theirs")), 0, 1, chunks(b"t"))
        made.recount()
        assert not await made.put((A, "f", name_of(b"z")), 0, 100, chunks(b"z"))


async def test_a_crowd_at_once_does_not_pass_the_share_together(tmp_path: Path) -> None:
    async with fresh_store() as (store, _):
        made = uploads(store, tmp_path, StillClock(), share=1000)
        outcomes = await asyncio.gather(
            *(made.put((A, f"of-{number}", name_of(b"")), 0, 300, chunks(b"x")) for number in range(20)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes if outcome is not False] == [Quota] * 17


async def test_small_blobs_count_too_and_one_organisation_leaves_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.uploads.MAX_BLOBS_PER_OWNER", 3)
    async with fresh_store() as (store, _):
        made = uploads(store, tmp_path, StillClock())
        for number in range(3):
            assert await made.put((A, "d", name_of(bytes([number]))), 0, 1, chunks(bytes([number])))
        with pytest.raises(Refused) as quota:
            await made.put((A, "d", name_of(b"more")), 0, 4, chunks(b"more"))
        assert quota.value.reason == "blob_quota"
        for number in range(MAX_UNFINISHED_PER_ORGANISATION):
            await made.put((A, f"of-{number}", name_of(b"ab")), 0, 2, chunks(b"a"))
        with pytest.raises(TooMany):
            await made.put((A, "one-more", name_of(b"ab")), 0, 2, chunks(b"a"))
        assert not await made.put((B, "of-another", name_of(b"ab")), 0, 2, chunks(b"a"))


async def test_who_owns_a_blob_and_what_is_unneeded_is_found_by_index() -> None:
    """However many blobs an organisation has: a scan for each held the one writer for seconds."""
    async with fresh_store() as (_, database):

        def plans(connection: Connection) -> dict[str, str]:
            found: dict[str, str] = {}

            def explain(conn: Connection, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
                if statement.startswith(("SELECT", "DELETE")):
                    cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                    found[statement] = " / ".join(str(row[3]) for row in cursor.fetchall())

            event.listen(connection, "before_cursor_execute", explain)
            blobs.keep(connection, A, "d", name_of(b"x"), [b"x"], 1, 0)
            blobs.owned(connection, A, "d")
            assert blobs.drop(connection, blobs.unneeded(connection, 10, 0)[0], 10) == 1
            return found

        for statement, plan in (await database.write(plans)).items():
            assert "SCAN" not in plan, (statement, plan)
            if "blob_owners" in statement and "sum(" not in statement:
                assert "kept_at" in plan or "organisation=? AND sha256=?" in plan, (statement, plan)


async def test_what_was_unfinished_at_a_crash_is_cleared_away(tmp_path: Path) -> None:
    async with fresh_store() as (store, _):
        first = uploads(store, tmp_path, StillClock())
        await first.put((A, "d", name_of(b"0123456789")), 0, 10, chunks(b"01"))
        assert len(list((tmp_path / "uploads").iterdir())) == 1
        uploads(store, tmp_path, StillClock())
        assert list((tmp_path / "uploads").iterdir()) == []
