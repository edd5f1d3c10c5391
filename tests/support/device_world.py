"""A relay, an organisation in memory and its devices: what tests of the agent need, without a console.

    async with DeviceWorld.begin() as world:
        device = world.device()              # joined; what runs is ended with the world
        device.agent.start(*named("pc-1"))
        device.wait_reported("pc-1")
        device.rows(), device.spooled()      # report numbers and hashes, on either side

The host's name is what changes in these tests: each agent runs in a UTS namespace of its own (`named`, `renaming`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from protocol import api
from protocol.codec import decode
from protocol.ids import sha256
from protocol.policy import Relay
from protocol.statement import Signed
from tests.support.agent_process import WITHIN_S, AgentProcess, wait_until
from tests.support.organisation import UNATTENDED, Organisation
from tests.support.relay_process import RelayProcess
from transport.http import RelayClient
from transport.relay_address import parse_address

UNSHARE = ("unshare", "--uts") if hasattr(os, "geteuid") and os.geteuid() == 0 else ("unshare", "-r", "--uts")


def named(name: str) -> tuple[str, ...]:
    """The prefix of a command that runs on a host of this name."""
    return (*UNSHARE, "sh", "-c", 'hostname "$0" && exec "$@"', name)


def renaming(every_s: float) -> tuple[str, ...]:
    """The prefix of a command whose host gets a new name again and again, for as long as it runs."""
    loop = 'while kill -0 $$ 2>/dev/null; do hostname "h$(date +%s%N)"; sleep "$0"; done >/dev/null 2>&1 &'
    return (*UNSHARE, "sh", "-c", f'{loop}\nexec "$@"', str(every_s))


class DeviceWorld:
    def __init__(self, folder: Path, settings: str) -> None:
        self.folder = folder
        self.relay = RelayProcess(folder / "relay", settings=settings)
        self.organisation: Organisation
        self.devices: list[Device] = []

    @classmethod
    @asynccontextmanager
    async def begin(cls, *, settings: str = "") -> AsyncIterator[DeviceWorld]:
        """settings: TOML for the relay, as RelayProcess takes it."""
        with tempfile.TemporaryDirectory(prefix="auxilio-device-") as folder:
            world = cls(Path(folder), settings)
            async with world.relay:
                relay = Relay(url=world.relay.url, pin=world.relay.pin)
                world.organisation = Organisation(relay, consent=UNATTENDED)
                await world.relay.add_organisation(world.organisation.id)
                async with world.client() as client:
                    await world.organisation.publish(client)
                try:
                    yield world
                finally:
                    for device in world.devices:
                        device.agent.kill()

    def client(self) -> RelayClient:
        return RelayClient(parse_address(self.relay.url, self.relay.pin))

    def token(self, **changes: Any) -> str:
        return self.organisation.join_token(**changes).text()

    def stranger(self) -> Device:
        """A device that has not joined."""
        device = Device(self, self.folder / f"agent-{len(self.devices)}")
        self.devices.append(device)
        return device

    def device(self, *run_arguments: str) -> Device:
        """A device that has joined."""
        device = self.stranger()
        device.agent.run_arguments = run_arguments
        device.id = device.agent.join(self.token())
        return device


class Device:
    """One agent, and what either side holds of its reports."""

    def __init__(self, world: DeviceWorld, state: Path) -> None:
        self.world = world
        self.agent = AgentProcess(state)
        self.id = ""

    def rows(self) -> list[tuple[int, str]]:
        """Number and payload hash of every report in the relay's database, ascending, one for each row."""
        query = "SELECT number, sha256 FROM reports WHERE device = ? ORDER BY number"
        return _read(self.world.relay.database, query, self.id)

    def spooled(self) -> dict[int, str]:
        """Number and payload hash of every report that waits on the device."""
        rows = _read(self.agent.state / "spool.sqlite", "SELECT number, signed FROM reports ORDER BY number")
        return {number: sha256(decode(body, Signed).payload) for number, body in rows}

    def last_number(self) -> int:
        """Of the reports that the device ever made."""
        query = "SELECT value FROM state WHERE name = 'last_number'"
        rows = _read(self.agent.state / "spool.sqlite", query)
        return int(rows[0][0]) if rows else 0

    def hostname(self) -> str:
        """As the relay's newest report of it says."""
        rows = _read(self.world.relay.database, "SELECT hostname FROM devices WHERE id = ?", self.id)
        return rows[0][0] or "" if rows else ""

    def wait_reported(self, hostname: str) -> None:
        """The relay knows that it is called so, and nothing waits."""
        wait_until(
            lambda: self.hostname() == hostname and not self.spooled(),
            f"reported as {hostname}; the agent said: {self.agent.said()[-2000:]}",
        )

    async def shown(self) -> api.Device:
        """The device as technicians see it."""
        async with self.world.client() as client:
            bearer = await self.world.organisation.login(client, self.world.organisation.technician())
            path = f"/v1/devices/{self.id}"
            return await client.request("GET", path, api.Device, bearer=bearer, limit=api.MAX_LIST_BYTES)


def _read(path: Path, query: str, *values: object) -> list[Any]:
    """From a database that another process has open, or had when it was killed."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
                return db.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            # It is being made, or recovered after a kill.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
