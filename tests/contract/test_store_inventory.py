"""What is installed where: kept once, changed by differences, found again exactly, and never in others' way."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, func, select

from protocol.codec import encode
from protocol.ids import DeviceId, sha256
from protocol.sections.findings import Finding, Findings
from protocol.sections.software import Package, Software
from protocol.selector import parse
from relay.store import findings as finding_rows
from relay.store import inventory, last_sections, listing, software
from relay.store import migrate as migrations
from relay.store.engine import open_database
from relay.store.findings import Found
from relay.store.software import versions
from relay.store.tables import device_findings, findings, inventories, packages, software_links
from relay.store.writer import BULK_ROWS
from tests.contract.test_store_listing import technician
from tests.support.store_world import A, B, add_device, fresh_store, set_software

NAMES = [f"package-{number}" for number in range(12)]


def ids(count: int) -> list[DeviceId]:
    return [DeviceId("-".join([f"{number:05d}"] * 4)) for number in range(count)]


def chosen(luck: random.Random) -> tuple[Package, ...]:
    count = luck.randint(0, len(NAMES))
    return tuple(Package(name=name, version=f"1.{luck.randint(0, 3)}") for name in luck.choices(NAMES, k=count))


def who_has(connection: Connection, organisation, devices, text: str) -> set[str]:
    term = parse(text)
    keys, _ = software.fitting(versions(connection, organisation, term), term)
    return {device for device, held in software.having(connection, organisation, devices, keys).items() if held}


def rows_in(connection: Connection, table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_reports_the_links_are_what_the_last_ones_said(seed: int) -> None:
    luck = random.Random(seed)
    devices = ids(70)  # three buckets
    said: dict[tuple[str, DeviceId], tuple[Package, ...]] = {}
    known = inventory.Keys()
    async with fresh_store() as (store, _):

        def fill(connection: Connection) -> None:
            for organisation in (A, B):
                for device in devices:
                    add_device(connection, organisation, device)

        def report(connection: Connection) -> None:
            for _ in range(120):
                organisation, device = luck.choice((A, B)), luck.choice(devices)
                said[organisation, device] = chosen(luck)
                set_software(connection, organisation, device, said[organisation, device], known)
            inventory.drop_unused(connection, inventory.unused(connection))

        def check(connection: Connection) -> None:
            for organisation in (A, B):
                for name in NAMES:
                    for text, fits in ((f"software:{name}", "0123"), (f"software:{name}>1.1", "23")):
                        wanted = {
                            device
                            for (of, device), held in said.items()
                            if of == organisation and any(p.name == name and p.version[-1] in fits for p in held)
                        }
                        assert who_has(connection, organisation, devices, text) == wanted, text
            kept = {(of, p.name, p.version) for (of, _), held in said.items() for p in held}
            assert rows_in(connection, packages) == len(kept), "once each, and none that nobody has"
            assert rows_in(connection, inventories) == len(said)
            assert not connection.execute(select(software_links).where(software_links.c.mask == 0)).all()

        await store.write(fill)
        for _ in range(4):
            await store.write(report)
            await store.read(check)


async def test_a_report_writes_only_the_links_that_differ() -> None:
    device, other = ids(2)
    many = [Package(name=f"package-{number:04}", version="1") for number in range(1500)]
    upgraded = [Package(name="package-0007", version="2"), *(p for p in many if p.name != "package-0007")]
    async with fresh_store() as (store, _):

        def first(connection: Connection) -> None:
            for one in (device, other):
                add_device(connection, A, one, software=many)

        def upgrade(connection: Connection) -> list[str]:
            written: list[str] = []

            def note(_connection, _cursor, statement, parameters, _context, many_at_once) -> None:
                if not statement.startswith("SELECT") and "software_links" in statement:
                    written.extend([statement.split()[0]] * (len(parameters) if many_at_once else 1))

            event.listen(connection, "before_cursor_execute", note)
            set_software(connection, A, device, upgraded)
            event.remove(connection, "before_cursor_execute", note)
            return [word for word in written if word != "DELETE"]

        await store.write(first)
        assert sorted(await store.write(upgrade)) == ["INSERT", "UPDATE"]
        assert await store.read(lambda c: who_has(c, A, [device, other], "software:package-0007<2")) == {other}


async def test_what_is_installed_is_not_known_until_all_of_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_CHANGES", 100)
    [device] = ids(1)
    section = Software(systems=("dpkg",), packages=tuple(Package(name=f"p{n}", version="1") for n in range(250)))
    async with fresh_store() as (store, _):
        await store.write(lambda c: add_device(c, A, device, software=()))
        name = sha256(encode(section))

        keys = inventory.Keys()

        def step(connection: Connection) -> tuple[bool, bool]:
            wanted = inventory.prepare(connection, A, device, name, inventory.rows_of(section), keys)
            done = inventory.apply(connection, A, device, wanted)
            known = bool(connection.execute(select(inventories.c.known)).scalar_one())
            return done, known

        def begin(connection: Connection) -> tuple[bool, bool]:
            wanted = inventory.prepare(connection, A, device, name, inventory.rows_of(section), keys)
            assert inventory.apply(connection, A, device, wanted), "an older report's: nothing to do"
            connection.exec_driver_sql("UPDATE report_sections SET sha256 = ?", (name,))
            return step(connection)

        steps = [await store.write(begin)]
        while not steps[-1][0]:
            steps.append(await store.write(step))
        assert steps == [(False, False)] * (len(steps) - 1) + [(True, True)]
        assert len(steps) >= 3
        assert await store.read(lambda c: rows_in(c, software_links)) == 250


async def test_a_package_that_was_dropped_meanwhile_is_kept_anew() -> None:
    one, other = ids(2)
    async with fresh_store() as (store, _):

        def between(connection: Connection) -> set[str]:
            add_device(connection, A, one, software=[Package(name="vim", version="9")])
            add_device(connection, A, other, software=())
            section = Software(systems=("dpkg",), packages=(Package(name="vim", version="9"),))
            keys = inventory.Keys()
            rows = inventory.rows_of(section)
            wanted = inventory.prepare(connection, A, other, sha256(encode(section)), rows, keys)
            assert list(wanted.keys.values())
            set_software(connection, A, one, [Package(name="nano", version="7")], keys)
            inventory.drop_unused(connection, inventory.unused(connection))
            assert not versions(connection, A, parse("software:vim"))
            connection.exec_driver_sql("UPDATE report_sections SET sha256 = ? WHERE device = ?", (wanted.sha256, other))
            assert inventory.apply(connection, A, other, wanted)
            return who_has(connection, A, [one, other], "software:vim")

        assert await store.write(between) == {other}


async def test_a_thousand_versions_of_a_package_are_searched_as_one() -> None:
    devices = ids(1000)
    async with fresh_store() as (store, _):

        def fill(connection: Connection) -> None:
            for number, device in enumerate(devices):
                held = [Package(name="tool", version=f"{number}")] if number else None
                add_device(connection, A, device, tags=(), software=held)

        await store.write(fill)
        who = technician("all")
        for text, wanted in (("software:tool<11", devices[1:11]), ("not software:tool<990", devices[990:])):
            selector = parse(text)
            page = await store.read(lambda c, s=selector: listing.list_devices(c, A, who, s, after=None, limit=50))
            assert [row.id for row in page.rows] == wanted, text


async def test_a_new_version_is_looked_up_alone_however_many_others_there_are() -> None:
    one, other = ids(2)
    many = [Package(name="openssl", version=f"3.{number}") for number in range(20_000)]
    async with fresh_store() as (store, _):
        await store.write(lambda c: add_device(c, A, one, software=many))

        def report(connection: Connection) -> int:
            """Instructions of SQLite's machine, in hundreds, for a device with two versions, one of which is new."""
            steps = 0

            def count() -> int:
                nonlocal steps
                steps += 1
                return 0

            driver = connection.connection.driver_connection
            driver.set_progress_handler(count, 100)
            held = [Package(name="openssl", version=version) for version in ("3.7", "new")]
            keys = inventory._find_keys(connection, A, inventory.rows_of(Software(packages=tuple(held))))
            inventory._keep(connection, A, sorted(inventory.rows_of(Software(packages=tuple(held)))))
            driver.set_progress_handler(None, 0)
            assert len(keys) == 1
            return steps

        assert await store.write(report) < 20, "20,000 rows of the name take a hundred times as many"
        await store.write(lambda c: add_device(c, A, other, software=[Package(name="openssl", version="new")]))
        assert await store.read(lambda c: who_has(c, A, [one, other], "software:openssl=new")) == {other}


def test_what_no_agent_of_ours_says_is_not_searched() -> None:
    def fault(count: int, name: str = "p{}", **same: str) -> str:
        packages = tuple(Package(name=name.format(n), **{"version": f"{n}", **same}) for n in range(count))
        return inventory.fault_of(Software(systems=("dpkg",), packages=packages))

    assert fault(20_000) == ""
    assert fault(20_001) == "20001 packages, where 20000 are the most"
    assert fault(64, "openssl") == ""
    assert fault(65, "OpenSSL") == "65 versions of one package, where 64 are the most"
    assert fault(65, "openssl", version="1") == "", "one version in many architectures"


async def test_why_a_section_is_not_searched_is_noted_beside_what_else_was() -> None:
    [device] = ids(1)
    async with fresh_store() as (store, _):

        def put(connection: Connection) -> str:
            add_device(connection, A, device, software=[Package(name="vim", version="9")])
            connection.exec_driver_sql("UPDATE devices SET notes = 'memory: bad'")
            connection.exec_driver_sql("UPDATE report_sections SET sha256 = 'h'")
            wanted = inventory.prepare(connection, A, device, "h", None, inventory.Keys(), "too much")
            assert inventory.apply(connection, A, device, wanted)
            assert inventory.is_read(connection, A, device, "h")
            assert who_has(connection, A, [device], "software:vim") == set()
            return connection.exec_driver_sql("SELECT notes FROM devices").scalar_one()

        assert await store.write(put) == "memory: bad; software: too much"


# -- findings -------------------------------------------------------------------------------------------------------


async def test_findings_follow_the_last_report_row_by_row() -> None:
    [device] = ids(1)
    full = Finding(code="disk-full", severity="error", subject="/", since_at=7)
    weak = Finding(code="weak-signal", severity="warning")
    async with fresh_store() as (store, _):

        def put(connection: Connection, *found: Finding) -> list[tuple[object, ...]]:
            name = sha256(encode(found))
            finding_rows.put(connection, A, device, Found(name, Findings(findings=found)))
            assert finding_rows.is_read(connection, A, device, name)
            query = select(findings.c.code, findings.c.subject, findings.c.rank, findings.c.since_at)
            return [tuple(row) for row in connection.execute(query.order_by(findings.c.code))]

        await store.write(lambda c: add_device(c, A, device))
        await store.write(lambda c: add_device(c, B, device, findings=[full]))
        await store.write(lambda c: finding_rows.put(c, B, device, None))
        assert await store.write(lambda c: put(c, full, weak)) == [
            ("disk-full", "/", 0, 7),
            ("weak-signal", "", 1, None),
        ]
        milder = Finding(code="disk-full", severity="warning", subject="/", since_at=9)
        twice = (milder, Finding(code="Odd code", severity="error"), milder)
        assert await store.write(lambda c: put(c, *twice)) == [("disk-full", "/", 1, 9)]
        assert await store.write(lambda c: put(c)) == []
        assert await store.read(lambda c: finding_rows.codes_of(c, A, [device])) == {device: frozenset()}
        await store.write(lambda c: finding_rows.put(c, A, device, None))
        assert await store.read(lambda c: finding_rows.codes_of(c, A, [device])) == {}, "not known is not none"


# -- the writer -----------------------------------------------------------------------------------------------------


async def test_what_is_written_in_bulk_lets_everything_else_pass_between_bounded_pieces() -> None:
    async with fresh_store() as (store, _):
        order: list[str] = []

        def note(name: str):
            return lambda _connection: order.append(name)

        bulk = [store.write_bulk(note(f"bulk {number}"), BULK_ROWS // 2) for number in range(6)]
        waiting = [asyncio.ensure_future(one) for one in bulk]
        await asyncio.sleep(0)
        before = store.writer.commits
        jobs = [asyncio.ensure_future(store.write(note(f"job {number}"))) for number in range(3)]
        await asyncio.gather(*waiting, *jobs)
        assert order.index("job 2") < order.index("bulk 2"), "after one piece of bulk at most"
        assert [name for name in order if name.startswith("bulk")] == [f"bulk {number}" for number in range(6)]
        assert store.writer.commits - before >= 4, "no two more of them in one transaction"


async def test_bulk_that_is_queued_is_written_before_the_writer_ends() -> None:
    async with fresh_store() as (store, _):
        done: list[int] = []
        waiting = [
            asyncio.ensure_future(store.write_bulk(lambda _c, n=number: done.append(n), BULK_ROWS))
            for number in range(5)
        ]
        await asyncio.sleep(0)
        store.writer.close()
        await asyncio.gather(*waiting)
        assert done == list(range(5))


# -- from the release before ----------------------------------------------------------------------------------------


async def test_a_database_of_the_first_release_is_brought_up_and_its_devices_are_behind(tmp_path: Path) -> None:
    path = tmp_path / "relay.sqlite"
    database = await open_database(path)

    def first(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    await database.write(first)
    [device] = ids(1)
    with sqlite3.connect(path) as old:
        columns = [row[1:4] for row in old.execute("PRAGMA table_info(devices)")]
        values = {name: 1 if kind != "TEXT" else "x" for name, kind, needed in columns if needed}
        values |= {"organisation": A, "id": device, "report_number": 5}
        marks = ", ".join("?" * len(values))
        old.execute(f"INSERT INTO devices ({', '.join(values)}) VALUES ({marks})", list(values.values()))
        old.execute("INSERT INTO device_software VALUES (?, ?, 'h', x'00')", (A, device))
        for name in ("software", "findings", "memory"):
            old.execute("INSERT INTO report_sections VALUES (?, ?, 5, ?, ?, 1, 1)", (A, device, name, "h" * 64))
    old.close()
    assert await migrations.migrate(database)
    for name, table in (("software", inventories), ("findings", device_findings)):
        behind = await database.read(lambda c, name=name, table=table: last_sections.behind(c, name, table, 10))
        assert behind == [(A, device)]
    database.close()
