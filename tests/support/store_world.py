"""A store on a fresh database, and rows in it without a relay around them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Connection, insert

from protocol.codec import encode
from protocol.ids import DeviceId, OrganisationId
from protocol.statement import Signed
from relay.store.engine import Database, open_database
from relay.store.migrate import migrate
from relay.store.software_map import pack
from relay.store.store import Store
from relay.store.tables import device_os, device_software, device_tags, devices

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
    software: dict[str, str] | None = None,
    revoked: bool = False,
) -> DeviceId:
    """tags: of its record; None: it is provisional."""
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
        connection.execute(
            insert(device_software).values(organisation=organisation, device=device, sha256="", packages=pack(software))
        )
    return DeviceId(device)
