"""What a technician asks of a large fleet, at the store of a relay: without HTTP, TLS, and whoever else is there.

The rows are those that reports would leave, put there directly: ten thousand devices that report take half an hour.
Two thirds of the packages are on every device in one of three versions, the others from a pool of 20,000.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from sqlalchemy import Connection, insert

from protocol.certificate import parse_certificate
from protocol.ids import DeviceId
from protocol.selector import Software, parse
from protocol.technician import read_technician
from relay import fleet
from relay.fleet import SoftwareAsked
from relay.logins import Login
from relay.store import listing
from relay.store.inventory import BITS, pack
from relay.store.store import Store
from relay.store.tables import inventories, inventory_packages, packages, software_links
from tests.bench.inventory import AIM_MS
from tests.bench.reporters import ASKED, PACKAGE, POOL
from tests.bench.rows import Row, ours_at_most, percentile
from tests.bench.settings import Settings
from tests.support.organisation import Organisation
from tests.support.store_world import A, add_device, fresh_store

NAME = "asked"
AT_ONCE = 500
"""Devices in one transaction."""


def measure(settings: Settings) -> list[Row]:
    return asyncio.run(_measure(settings.asked_devices, settings.asked_packages))


async def _measure(devices: int, each: int) -> list[Row]:
    async with fresh_store() as (store, database):
        filling = _Filling(each)
        for start in range(0, devices, AT_ONCE):
            await store.write(partial(filling.fill, numbers=range(start, min(devices, start + AT_ONCE))))
        await store.write(filling.end)
        size = sum(path.stat().st_size for path in database.path.parent.glob(f"{database.path.name}*"))
        rows = [await _ask(store, name, question) for name, question in _questions().items()]
    more = {"devices": devices, "packages": each}
    for row in rows:
        row.more |= more
    rows.append(Row(f"{NAME}: database per device, without reports", "KiB", size / devices / 1024, None, more=more))
    return rows


def _questions() -> dict[str, Callable[[Connection], int]]:
    technician = read_technician(parse_certificate(Organisation().technician(scope="all", may="view").certificate))
    term, everybody = parse(f"software:{PACKAGE}"), parse("all")
    assert isinstance(term, Software)
    login = Login(A, technician, fingerprint="", scope="full", relay="", expires_at=0)
    asked = SoftwareAsked(term, everybody)

    def who(connection: Connection, limit: int) -> int:
        return fleet.search_software(connection, login, asked, after=None, limit=limit, now=0.0).total

    def listed(connection: Connection, selector: str) -> int:
        return listing.list_devices(connection, A, technician, parse(selector), after=None, limit=100).total

    return {
        f"who has {PACKAGE}, by version": lambda c: who(c, 1),
        "the same, with 100 devices": lambda c: who(c, 100),
        f"devices with software:{PACKAGE}": lambda c: listed(c, f"software:{PACKAGE}"),
        f"devices with not software:{PACKAGE}": lambda c: listed(c, f"not software:{PACKAGE}"),
        "devices with a package that all have": lambda c: listed(c, "software:common-1>0"),
    }


async def _ask(store: Store, name: str, question: Callable[[Connection], int]) -> Row:
    times: list[float] = []
    cpu: list[float] = []
    total = 0

    def timed(connection: Connection) -> int:
        began, spent = time.monotonic(), time.thread_time()
        found = question(connection)
        times.append(1000 * (time.monotonic() - began))
        cpu.append(1000 * (time.thread_time() - spent))
        return found

    for _ in range(ASKED):
        total = await store.search(A, timed)
    row = Row(f"{NAME}: {name}", "ms", percentile(times, 50), None, ours_at_most(AIM_MS))
    row.more |= {"total": total, "cpu_ms": percentile(cpu, 50), "worst_ms": max(times)}
    return row


class _Filling:
    """Rows as relay/store/inventory.py writes them, a bucket at a time."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._keys: dict[tuple[str, str], int] = {}
        self._next = count(1)

    def fill(self, connection: Connection, numbers: range) -> None:
        masks: dict[tuple[int, int], int] = {}
        held: list[dict[str, Any]] = []
        packed: list[dict[str, Any]] = []
        for number in numbers:
            device = DeviceId("-".join([f"{number:05d}"] * 4))
            add_device(connection, A, device, tags=())
            keys = self._installed(number)
            held.append({"organisation": A, "device": device, "sha256": "x", "known": True, "place": number})
            packed.append({"organisation": A, "device": device, "packages": pack(keys)})
            for key in keys:
                link = (number // BITS, key)
                masks[link] = masks.get(link, 0) | 1 << number % BITS
        connection.execute(insert(inventories), held)
        connection.execute(insert(inventory_packages), packed)
        rows = [(*link, mask) for link, mask in sorted(masks.items())]
        statement = "INSERT INTO software_links VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET mask = mask | excluded.mask"
        connection.exec_driver_sql("DROP INDEX IF EXISTS ix_software_links_package")
        connection.exec_driver_sql(statement, rows)

    def end(self, connection: Connection) -> None:
        rows = [
            {"key": key, "organisation": A, "name_key": name, "name": name, "version": version, "system": "dpkg"}
            for (name, version), key in self._keys.items()
        ]
        connection.execute(insert(packages), [{**row, "source": row["name"]} for row in rows])
        [index] = software_links.indexes
        index.create(connection)

    def _installed(self, number: int) -> set[int]:
        luck = random.Random(number)
        wave, common = luck.randrange(3), self._each * 2 // 3
        names = [(f"common-{n}", f"{n % 7}.{wave if n % 3 else 0}.{n}-1") for n in range(common)]
        rare = luck.sample(range(POOL), self._each - common - 1)
        names += [(f"rare-{n}", f"1.{n % 10}-{luck.randrange(2)}") for n in rare]
        names.append(("openssl", f"3.0.{luck.randrange(5, 17)}-1~deb12u1"))
        return {self._keys.setdefault(name, 0) or self._new(name) for name in names}

    def _new(self, name: tuple[str, str]) -> int:
        self._keys[name] = key = next(self._next)
        return key
