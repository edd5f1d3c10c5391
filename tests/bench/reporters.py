"""Devices that report what they have installed: `python -m tests.bench.reporters FOLDER DEVICES PACKAGES`.

A process of its own, as crowd.py is. Keys, signatures, TLS, uploads and reports are real, and every device dials anew
for each report; what it has installed is made up: two thirds of the packages are on every device, in one of three
versions, the others come from a pool of 20,000. FOLDER: of a relay that runs.

For each word on its standard input it prints a line of JSON when that is done: `first`, `again` (unchanged) and
`upgrade` (ten packages differ) report of every device; `ask` asks what a technician asks.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from protocol.api import DevicePage
from protocol.codec import encode
from protocol.fleet import FindingsPage, SoftwarePage
from protocol.sections.findings import Finding, Findings
from protocol.sections.software import Package, Software
from tests.bench.devices import enrol
from tests.bench.rows import percentile
from tests.support.relay_process import RelayProcess
from tests.support.relay_world import FakeDevice, World, begin_world
from transport.http import RelayClient

AT_ONCE = 16
"""Devices that report at the same time."""

POOL = 20_000
UPGRADED = 10
ASKED = 15
PACKAGE = "openssl<3.0.14"


def installed(number: int, count: int, upgraded: int = 0) -> bytes:
    """The section of device `number`: the same each time, but for the `upgraded` packages."""
    luck = random.Random(number)
    wave = luck.randrange(3)
    common = [_package(f"common-{n}", f"{n % 7}.{wave if n % 3 else 0}.{n}-1", n) for n in range(count * 2 // 3)]
    rare = sorted(luck.sample(range(POOL), count - len(common) - 1))
    others = [_package(f"rare-{n}", f"1.{n % 10}-{luck.randrange(2)}", n) for n in rare]
    for at in range(min(upgraded, len(common))):
        common[at] = msgspec.structs.replace(common[at], version=f"9.{common[at].version}")
    openssl = _package("openssl", f"3.0.{luck.randrange(5, 17)}-1~deb12u1", 0)
    return encode(Software(systems=("dpkg",), packages=(*common, openssl, *others)))


def _package(name: str, version: str, number: int) -> Package:
    return Package(name=name, version=version, architecture="amd64", source=name, size_kib=number, vendor="Debian")


def found(number: int) -> bytes:
    codes = ("disk-nearly-full", "updates-waiting", "battery-worn")
    listed = [Finding(code=code, severity="warning") for at, code in enumerate(codes) if number % (at + 3) == 0]
    return encode(Findings(findings=tuple(listed)))


class Reporters:
    def __init__(self, world: World, devices: list[FakeDevice], packages: int) -> None:
        self._world = world
        self._devices = devices
        self._packages = packages
        self._number = 0

    async def report(self, upgraded: int = 0) -> dict[str, Any]:
        """One of each device; `seconds` from the first dial to the last acknowledgement."""
        self._number += 1
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int, device: FakeDevice) -> None:
            async with gate:
                software = await asyncio.to_thread(installed, number, self._packages, upgraded)
                async with device.linked(nonces=0) as link:
                    await link.send_report(self._number, {"software": software, "findings": found(number)})

        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number, device in enumerate(self._devices):
                tasks.create_task(one(number, device))
        return {"seconds": time.monotonic() - began, "section_bytes": len(installed(0, self._packages))}

    async def ask(self) -> dict[str, Any]:
        """Milliseconds of each question, from the request to the decoded answer: the median."""
        _, client = await self._world.technician("asker")
        questions: dict[str, Asked] = {
            "who": ("/v1/software", SoftwarePage, {"package": PACKAGE, "limit": 1}),
            "who, a page": ("/v1/software", SoftwarePage, {"package": PACKAGE, "limit": 100}),
            "devices": ("/v1/devices", DevicePage, {"selector": f"software:{PACKAGE}", "limit": 1}),
            "devices without": ("/v1/devices", DevicePage, {"selector": f"not software:{PACKAGE}", "limit": 1}),
            "findings": ("/v1/findings", FindingsPage, {"limit": 1}),
        }
        told: dict[str, Any] = {}
        for name, question in questions.items():
            times, total = await _times(client, question)
            told[name] = {"ms": percentile(times, 50), "worst_ms": max(times), "total": total}
        return told


Asked = tuple[str, type[SoftwarePage] | type[DevicePage] | type[FindingsPage], dict[str, str | int]]


async def _times(client: RelayClient, asked: Asked) -> tuple[list[float], int]:
    path, type_, query = asked
    times: list[float] = []
    total = 0
    for _ in range(ASKED):
        began = time.monotonic()
        total = (await client.request("GET", path, type_, query=query, limit=1 << 24)).total
        times.append(1000 * (time.monotonic() - began))
    return times, total


async def main(folder: Path, devices: int, packages: int) -> None:
    relay = RelayProcess(folder)
    relay.attach()
    world = await begin_world(relay)
    try:
        reporters = Reporters(world, await enrol(world, devices), packages)
        words: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "first": reporters.report,
            "again": reporters.report,
            "upgrade": lambda: reporters.report(UPGRADED),
            "ask": reporters.ask,
        }
        print("{}", flush=True)  # enrolled
        while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
            print(json.dumps(await words[word]()), flush=True)
    finally:
        await world.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
