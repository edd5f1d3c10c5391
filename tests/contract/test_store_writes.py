"""What the store says is written is on disk; what failed has not happened; the schema is what the migrations make."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from protocol.errors import ConfigInvalid
from protocol.statement import Signed
from relay.failures import StoreFailed, StoreFull
from relay.store import documents
from relay.store import migrate as migrations
from relay.store.documents import add_organisation, has_organisation, list_organisations
from relay.store.engine import is_owned, open_database, owned
from relay.store.tables import metadata
from relay.store.writer import MAX_BATCH
from tests.support.store_world import A, B, fresh_store


async def test_many_writers_share_few_commits() -> None:
    async with fresh_store() as (store, _):
        before = store.writer.commits
        await asyncio.gather(
            *(store.write(lambda c, n=n: add_organisation(c, f"{n:052d}", 0)) for n in range(3 * MAX_BATCH))  # type: ignore[arg-type]
        )
        assert store.writer.commits - before <= 6
        assert len(await store.read(list_organisations)) == 3 * MAX_BATCH


async def test_a_job_that_fails_is_undone_alone() -> None:
    async with fresh_store() as (store, _):

        def half(connection: Connection) -> None:
            add_organisation(connection, A, 0)
            raise ValueError("a bug")

        results = await asyncio.gather(
            store.write(half), store.write(lambda c: add_organisation(c, B, 0)), return_exceptions=True
        )
        assert isinstance(results[0], ValueError) and results[1] is True
        assert [row[0] for row in await store.read(list_organisations)] == [B]


async def test_a_writer_that_is_closed_finishes_what_is_queued_and_takes_no_more() -> None:
    async with fresh_store() as (store, _):
        pending = [asyncio.ensure_future(store.write(lambda c: add_organisation(c, A, 0))) for _ in range(5)]
        await asyncio.sleep(0)
        store.writer.close()
        assert sum(await asyncio.gather(*pending)) == 1
        with pytest.raises(StoreFailed):
            await store.write(lambda c: None)


async def test_a_caller_who_went_away_harms_nobody() -> None:
    async with fresh_store() as (store, _):
        gone = asyncio.ensure_future(store.write(lambda c: add_organisation(c, A, 0)))
        stays = asyncio.ensure_future(store.write(lambda c: add_organisation(c, B, 0)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays


async def test_readers_do_not_wait_for_the_writer_and_cannot_write() -> None:
    async with fresh_store() as (store, database):
        entered, leave = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(connection: Connection) -> None:
            add_organisation(connection, A, 0)
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(leave.wait(), loop).result(60)

        writing = asyncio.ensure_future(store.write(slow))
        await entered.wait()
        assert await store.read(list_organisations) == []
        leave.set()
        await writing
        assert len(await store.read(list_organisations)) == 1
        with pytest.raises(StoreFailed):
            await database.read(lambda c: add_organisation(c, B, 0))


async def test_a_full_disk_is_said_and_loses_nothing_that_was_there() -> None:
    async with fresh_store() as (store, _):
        await store.write(lambda c: add_organisation(c, A, 0))

        def fill(connection: Connection) -> None:
            connection.exec_driver_sql(
                f"PRAGMA max_page_count={connection.exec_driver_sql('PRAGMA page_count').scalar()}"
            )

        await store.write(fill)
        failures = await asyncio.gather(
            *(store.write(lambda c, n=n: add_organisation(c, f"{n:0200d}", 0)) for n in range(400)),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        assert any(isinstance(failure, StoreFull) for failure in failures)
        kept = {row[0] for row in await store.read(list_organisations)}
        acknowledged = {f"{n:0200d}" for n, outcome in enumerate(failures) if outcome is True}
        assert kept == acknowledged | {A}

        def free(connection: Connection) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count=1000000")

        await store.write(free)
        assert await store.write(lambda c: add_organisation(c, B, 0))


async def test_the_migrations_make_the_tables_that_the_queries_use() -> None:
    async with fresh_store() as (_, database):

        def difference(connection: Connection) -> list[object]:
            return compare_metadata(MigrationContext.configure(connection), metadata)

        assert await database.read(difference) == []
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [migrations.HEAD]
    assert sorted(revision.revision for revision in script.walk_revisions()) == sorted(migrations.KNOWN)


async def test_of_an_organisations_policies_the_newest_are_kept() -> None:
    charter = documents.make_document(documents.CHARTER, Signed(payload=b"c", signature=b""), epoch=0, number=1)
    async with fresh_store() as (store, _):
        await store.write(lambda c: documents.add_document(c, A, charter, 0))
        for number in range(documents.POLICIES_KEPT + 10):
            signed = Signed(payload=b"%d" % number, signature=b"")
            policy = documents.make_document(documents.POLICY, signed, epoch=0, number=number)
            await store.write(lambda c, p=policy: documents.add_document(c, A, p, 0))
        kept = await store.read(lambda c: documents.all_documents(c, A))
        assert kept[0] == charter
        assert [d.number for d in kept[1:]] == list(range(10, documents.POLICIES_KEPT + 10))


async def test_migrating_again_does_nothing_and_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    database = await open_database(path)
    assert await migrations.migrate(database)
    assert not await migrations.migrate(database)
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    database = await open_database(path)
    with pytest.raises(ConfigInvalid) as exc:
        await migrations.migrate(database)
    assert exc.value.reason == "schema_unknown"
    database.close()


@pytest.mark.parametrize(
    "content", [b"this is no database, it is a letter" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "relay.sqlite"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid):
        await open_database(path)
    assert path.read_bytes() == content


async def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE letters (text)")
    connection.close()
    database = await open_database(path)
    with pytest.raises(ConfigInvalid):
        await migrations.migrate(database)
    database.close()


def test_one_database_has_one_owner_and_a_killed_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    code = f"""
import sys
from pathlib import Path
from relay.store.engine import owned
with owned(Path({str(path)!r})):
    print("mine", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == b"mine\n"
        assert is_owned(path)
        with pytest.raises(ConfigInvalid) as exc, owned(path):
            pass
        assert exc.value.reason == "already_running"
        owner.kill()
        owner.wait()
    assert not is_owned(path)


async def test_the_database_is_its_owners_alone(tmp_path: Path) -> None:
    os.umask(0o022)
    database = await open_database(tmp_path / "relay.sqlite")
    await migrations.migrate(database)
    database.close()
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


async def test_lookups_share_a_visit_and_one_that_fails_fails_alone() -> None:
    async with fresh_store() as (store, _):
        await store.write(lambda c: add_organisation(c, A, 0))

        def look(connection: Connection) -> bool:
            return has_organisation(connection, A)

        def fail(_: Connection) -> bool:
            raise ValueError("a bug")

        jobs = [fail if number == 7 else look for number in range(300)]
        asking = [asyncio.ensure_future(store.look_up(job)) for job in jobs]
        await asyncio.sleep(0)
        asking[3].cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(found[3], asyncio.CancelledError) and isinstance(found[7], ValueError)
        assert found.count(True) == 298
        assert await store.look_up(look)
