"""What it costs the relay that a fleet reports what it has installed, and to be asked who has what.

A relay of its own, with its defaults but for the bounds of one address, since here all devices come from one. Devices
are counted from the first dial until the last of them is searched. Meanwhile something small is written again and
again (`/readyz`): how long that takes is what inventories cost everybody else.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.bench.devices import ONE_ADDRESS
from tests.bench.processes import WITHIN_S, cpu_s, end, settle, tree
from tests.bench.rows import Row, ours_at_most, percentile
from tests.bench.settings import MIB, Settings
from tests.support.relay_process import ROOT, RelayProcess

NAME = "inventory"
AIM_MS = 300
"""For an answer on a fleet of 10,000 devices."""


def measure(settings: Settings) -> list[Row]:
    return asyncio.run(_measure(settings))


async def _measure(settings: Settings) -> list[Row]:
    count = settings.inventory_devices
    async with RelayProcess(settings=ONE_ADDRESS) as relay:
        with _reporters(relay, count, settings.inventory_packages) as reporters:
            await asyncio.to_thread(reporters.told)
            rows: list[Row] = []
            for word, what in (("first", "new"), ("again", "unchanged"), ("upgrade", "ten packages differ")):
                rows += await asyncio.to_thread(_phase, relay, reporters, word, what, count)
            size = sum(path.stat().st_size for path in (relay.database, relay.database.with_name("relay.sqlite-wal")))
            more = {"devices": count, "packages": settings.inventory_packages}
            rows.append(Row(f"{NAME}: database per device", "KiB", size / count / 1024, None, more=more))
            rows.append(Row(f"{NAME}: database", "MiB", size / MIB, None))
            answers = await asyncio.to_thread(reporters.ask, "ask")
        names = {
            "who": "who has openssl<3.0.14, by version",
            "who, a page": "the same, with 100 devices",
            "devices": "devices with software:openssl<3.0.14",
            "devices without": "devices with not software:openssl<3.0.14",
            "findings": "findings, by code",
        }
        for key, told in answers.items():
            aim = ours_at_most(AIM_MS)
            rows.append(Row(f"{NAME}: {names[key]}", "ms", told["ms"], None, aim, more={"total": told["total"]}))
            rows[-1].more["worst_ms"] = told["worst_ms"]
        return rows


def _phase(relay: RelayProcess, reporters: _Reporters, word: str, what: str, count: int) -> list[Row]:
    settle(lambda: tree([relay.pid]))
    spent, began = cpu_s(tree([relay.pid])), time.monotonic()
    with _small_writes(relay) as times:
        told = reporters.ask(word)
        acknowledged = time.monotonic() - began
        _wait_in_step(relay)
        seconds = time.monotonic() - began
    settle(lambda: tree([relay.pid]))
    cpu_ms = 1000 * (cpu_s(tree([relay.pid])) - spent) / count
    more = {"seconds": seconds, "acknowledged_s": acknowledged, "section_bytes": told["section_bytes"]}
    return [
        Row(f"{NAME}, {what}: devices per second", "1/s", count / seconds, None, more=more),
        Row(f"{NAME}, {what}: relay's CPU per device", "ms", cpu_ms, None),
        Row(f"{NAME}, {what}: a small write meanwhile, p99", "ms", percentile(times, 99), None, more={"n": len(times)}),
    ]


class _Reporters:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def ask(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        return self.told()

    def told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the reporters failed"
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def _reporters(relay: RelayProcess, devices: int, packages: int) -> Iterator[_Reporters]:
    command = [sys.executable, "-m", "tests.bench.reporters", str(relay.folder), str(devices), str(packages)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield _Reporters(process)
    finally:
        end(process)


@contextmanager
def _small_writes(relay: RelayProcess) -> Iterator[list[float]]:
    """Milliseconds of each, filled meanwhile; at least one."""
    over = threading.Event()
    times: list[float] = []

    def write() -> None:
        while not (over.is_set() and times):
            began = time.monotonic()
            with urllib.request.urlopen(f"{relay.admin_url}/readyz", timeout=WITHIN_S) as answer:
                answer.read()
            times.append(1000 * (time.monotonic() - began))
            over.wait(0.02)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


def _wait_in_step(relay: RelayProcess) -> None:
    """Until what was reported is what is searched."""
    while True:
        with urllib.request.urlopen(f"{relay.admin_url}/metrics", timeout=WITHIN_S) as answer:
            behind = re.search(rb"^auxilio_inventories_behind ([0-9.e+]+)", answer.read(), re.MULTILINE)
        assert behind is not None
        if float(behind.group(1)) == 0:
            return
        time.sleep(0.05)
