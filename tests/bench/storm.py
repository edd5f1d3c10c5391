"""A relay is killed while thousands of devices are linked to it, and starts anew: they all come back at once.

The relay has its defaults but for the bounds of one address, since here all devices come from one. Somebody types in
an open session all the while, at a device beside them; the key that was on its way when the relay died is not counted,
since that one tells how long the session took to go on.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.devices import ONE_ADDRESS
from tests.bench.keys import Terminal
from tests.bench.ours import Stock
from tests.bench.processes import cpu_s, end, peak_kib, settle, tree
from tests.bench.rows import Row, percentile, significant
from tests.bench.settings import Settings
from tests.support.relay_process import ROOT, RelayProcess
from tests.support.world import World

NAME = "storm"
CALM = "the same, calm"


class StormWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.relay = RelayProcess(self.folder / "relay", settings=ONE_ADDRESS)


def measure(settings: Settings) -> list[Row]:
    world = StormWorld.begin("lab")
    try:
        with _crowd(world.relay.folder, settings.storm) as crowd:
            _all_linked(crowd)
            return _storm(world, crowd, settings)
    finally:
        world.end()


@contextmanager
def _crowd(folder: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.bench.crowd", str(folder), str(count)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        end(process)


def _all_linked(crowd: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert crowd.stdin is not None and crowd.stdout is not None
    crowd.stdin.write(b"\n")
    crowd.stdin.flush()
    told: dict[str, Any] = json.loads(crowd.stdout.readline() or "{}")
    assert told, "the crowd failed"
    return told


def _storm(world: World, crowd: subprocess.Popen[bytes], settings: Settings) -> list[Row]:
    relay = world.relay
    settle(lambda: tree([relay.pid]))
    terminal = Terminal(Stock(world))
    try:
        terminal.press(settings.keys)
        calm, terminal.seconds = terminal.seconds, []
        asyncio.run(relay.kill())
        began = time.monotonic()
        asyncio.run(relay.start())
        served = time.monotonic()
        told: dict[str, Any] = {}
        waits = threading.Thread(target=lambda: told.update(_all_linked(crowd)))
        waits.start()
        while waits.is_alive():
            terminal.press(10)
        waits.join()
        assert told, "the crowd failed"
        cpu_ms, peak = 1000 * cpu_s(tree([relay.pid])) / settings.storm, peak_kib(relay.pid) / 1024
    finally:
        terminal.close()
    storm = terminal.seconds[1:]
    more = {"devices": settings.storm, "dials": told["dials"], "keys": len(storm)}
    rows = [
        Row(f"{NAME}: until all are back", "s", told["all_at"] - began, None, more=more),
        Row(f"{NAME}: until nine in ten are back", "s", told["nearly_at"] - began, None),
        Row(f"{NAME}: of it, until the relay serves again", "s", served - began, None),
        Row(f"{NAME}: relay's CPU per device", "ms", cpu_ms, None),
        Row(f"{NAME}: relay's memory at the most", "MiB", peak, None),
        Row(f"{NAME}: an open session goes on after", "s", terminal.seconds[0], None),
    ]
    for percent in (50, 99):
        ours, peer = (1000 * percentile(series, percent) for series in (storm, calm))
        rows.append(Row(f"{NAME}: keystroke p{percent}", "ms", ours, peer, beside=CALM))
    rows[-1].more["longest_ms"] = significant(1000 * max(storm))
    return rows
