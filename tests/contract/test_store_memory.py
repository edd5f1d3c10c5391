"""Free memory slots at the relay: read from a signed report, selected by, and not known of before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Connection, text

from protocol.api import DevicePage
from protocol.codec import encode
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemorySlot
from relay.store import migrate as migrations
from relay.store.engine import open_database
from tests.support.relay_world import FakeLink, World, relay_world, sections

FULL, EMPTY = MemorySlot(size=8 << 30, kind="DDR4", form="DIMM"), MemorySlot(size=0, form="DIMM")


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with relay_world() as world:
        yield world


async def test_devices_with_a_free_slot_are_selected_by_what_they_signed(world: World) -> None:
    _, client = await world.technician()
    device = await world.device("clinic")

    async def selected(by: str) -> bool:
        page = await client.request("GET", "/v1/devices", DevicePage, query={"selector": by})
        return [d.id for d in page.devices] == [device.id]

    async def reports(link: FakeLink, number: int, memory: Memory) -> None:
        await link.send_report(number, sections() | {"memory": encode(memory)})

    async with device.linked() as link:
        await reports(link, 1, Memory(total=7 << 30, board="slots", slots=(FULL, EMPTY)))
        assert await selected("slots-free>0 ram<8GiB") and await selected("slots-free=1")
        assert not await selected("not slots-free>0")
        await reports(link, 2, Memory(total=15 << 30, board="slots", slots=(FULL, FULL)))
        assert await selected("slots-free=0") and await selected("not slots-free>0")
        await reports(link, 3, Memory(total=7 << 30, board="virtual"))
        assert not await selected("slots-free>0"), "not known"
        assert not await selected("not slots-free>0"), "nor the contrary"


async def test_of_devices_from_before_it_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = await open_database(tmp_path / "relay.sqlite")
    monkeypatch.setattr(migrations, "HEAD", "0001")
    assert await migrations.migrate(database)

    def add(connection: Connection) -> None:
        given = {"organisation": "'o'", "id": "'d'", "ram": "5", "report_number": "7"}
        columns = connection.execute(text("PRAGMA table_info(devices)")).all()
        values = [given.get(column.name, "0" if column.notnull else "NULL") for column in columns]
        connection.execute(text(f"INSERT INTO devices VALUES ({', '.join(values)})"))

    await database.write(add)
    monkeypatch.undo()
    assert await migrations.migrate(database)

    def rows(connection: Connection) -> list[tuple[object, ...]]:
        query = text("SELECT id, ram, report_number, slots_free FROM devices")
        return [tuple(row) for row in connection.execute(query)]

    assert await database.read(rows) == [("d", 5, 7, None)]
    database.close()
