"""How often one device's inventory is read again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protocol.ids import DeviceId, OrganisationId, Sha256
from relay import inventories
from relay.inventories import Inventories
from relay.store.inventory import MAX_CHANGES, Inventory

LIAR = (OrganisationId("a" * 52), DeviceId("aaaaa-bbbbb-ccccc-ddddd"))
HONEST = (OrganisationId("a" * 52), DeviceId("eeeee-fffff-ggggg-hhhhh"))


class AllDiffers:
    """A store in which each report says something else: a full transaction of links."""

    def __init__(self) -> None:
        self.rows = 0

    async def read(self, job: Any) -> Any:
        return job(None)

    async def write_bulk(self, job: Any, rows: int) -> bool:
        self.rows += rows
        return True


async def test_a_device_that_says_something_else_all_the_time_waits_and_the_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = AllDiffers()
    made: Any = store
    line = Inventories(made)
    read: list[object] = []

    def prepare(_connection: Any, key: Any, _keys: Any) -> Inventory:
        read.append(key)
        return Inventory(Sha256(""), None, {}, MAX_CHANGES)

    monkeypatch.setattr(inventories, "_late_findings", lambda _connection, _key: None)
    monkeypatch.setattr(inventories, "_prepare", prepare)
    working = asyncio.ensure_future(line.run())
    for _ in range(200):
        line.follow(LIAR)
        while line._line or line._busy:
            await asyncio.sleep(0)
    assert read.count(LIAR) < 25 and store.rows < 100_000
    assert len(line) == 1, "it stands in line still, for later"
    line.follow(HONEST)
    while line._line or line._busy:
        await asyncio.sleep(0)
    assert read[-1] == HONEST
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
