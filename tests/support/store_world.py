"""A store on a fresh database, and rows in it without a relay around them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, delete, insert

from protocol.codec import encode
from protocol.ids import DeviceId, OrganisationId, sha256
from protocol.sections.findings import Finding, Findings
from protocol.sections.software import Package, Software
from protocol.statement import Signed
from relay.store import findings as finding_rows
from relay.store import inventory
from relay.store.engine import Database, open_database
from relay.store.findings import Found
from relay.store.migrate import migrate
from relay.store.store import Store
from relay.store.tables import device_os, device_tags, devices, report_sections

A, B = OrganisationId("a" * 52), OrganisationId("b" * 52)
SIGNED = Signed(payload=b"{}", signature=b"")


@asynccontextmanager
async def fresh_store(path: Path | None = None) -> AsyncIterator[tuple[Store, Database]]:
    with tempfile.TemporaryDirectory(prefix="auxilio-store-") as folder:
        database = await open_database(path or Path(folder, "relay.sqlite"))
        try:
            await migrate(database)
            store = Store(database)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(store.writer.run())
                try:
                    yield store, database
                finally:
                    store.writer.close()
        finally:
            database.close()


def add_device(
    connection: Connection,
    organisation: OrganisationId,
    device: str,
    *,
    tags: tuple[str, ...] | None = None,
    suggested: tuple[str, ...] = (),
    os: tuple[str, ...] = (),
    hostname: str | None = None,
    ram: int | None = None,
    slots_free: int | None = None,
    online: bool = False,
    signal: int | None = None,
    software: Iterable[Package] | None = None,
    findings: Iterable[Finding] | None = None,
    revoked: bool = False,
) -> DeviceId:
    """tags: of its record; None: it is provisional.  software, findings: of its last report; None: none was in it."""
    values = {
        "organisation": organisation,
        "id": device,
        "key": "ssh-ed25519 AAAA",
        "enrolment": encode(SIGNED),
        "token": "t",
        "machine": "",
        "enrolled_at": 0,
        "revoked": revoked,
        "record": None if tags is None else encode(SIGNED),
        "record_number": 0 if tags is None else 1,
        "report_number": 0,
        "hostname": hostname or "",
        "hostname_key": None if hostname is None else hostname.lower(),
        "os": "",
        "ram": ram,
        "slots_free": slots_free,
        "signal": signal,
        "notes": "",
        "online": online,
        "since_at": 0,
        "last_seen_at": 0,
        "address": "",
        "agent": "",
        "held_charter": 0,
        "held_epoch": 0,
        "held_policy": 0,
        "offline_reason": "",
        "offline_since_at": 0,
        "forks": "",
    }
    connection.execute(insert(devices).values(**values))
    rows = [{"tag": tag, "suggested": False} for tag in tags or ()] + [
        {"tag": tag, "suggested": True} for tag in suggested
    ]
    if rows:
        connection.execute(
            insert(device_tags), [{"organisation": organisation, "device": device, **row} for row in rows]
        )
    if os:
        connection.execute(
            insert(device_os), [{"organisation": organisation, "device": device, "name": name} for name in os]
        )
    if software is not None:
        set_software(connection, organisation, DeviceId(device), software)
    if findings is not None:
        found = Found(sha256(b"findings"), Findings(findings=tuple(findings)))
        finding_rows.put(connection, organisation, DeviceId(device), found)
    return DeviceId(device)


def set_software(
    connection: Connection,
    organisation: OrganisationId,
    device: DeviceId,
    packages: Iterable[Package],
    known: inventory.Keys | None = None,
) -> None:
    """As its next report says. known: what is remembered of the reports before."""
    known = known or inventory.Keys()
    section = Software(systems=("dpkg",), packages=tuple(packages))
    name = sha256(encode(section))
    this = {"organisation": organisation, "device": device, "number": 0, "name": inventory.SECTION}
    connection.execute(delete(report_sections).where(*(report_sections.c[key] == value for key, value in this.items())))
    connection.execute(insert(report_sections).values(**this, sha256=name, size=1, collected_at=0))
    done = False
    while not done:
        wanted = inventory.prepare(connection, organisation, device, name, inventory.rows_of(section), known)
        done = inventory.apply(connection, organisation, device, wanted)
