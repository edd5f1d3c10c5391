"""All of it in turn: worlds begun, each measurement taken, worlds ended. One that fails costs its own rows only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from tests.bench import (
    asked,
    beside_mesh,
    bulk,
    copies,
    devices,
    idle,
    inventory,
    keys,
    machine,
    meshcentral,
    opening,
    reports,
    storm,
    survival,
)
from tests.bench.openssh import Chain
from tests.bench.ours import Own, Stock
from tests.bench.rows import Row
from tests.bench.settings import Settings
from tests.bench.ways import attempt
from tests.support.world import World

Measure = Callable[[], list[Row]]


def take(settings: Settings) -> tuple[list[Row], dict[str, Any]]:
    """The rows, and what the machine was. Raises NotAvailable where OpenSSH is not."""
    facts = machine.facts(settings)
    took = facts["measurements"] = {}
    rows: list[Row] = []
    with ExitStack() as worlds:
        chain = Chain.begin()
        worlds.callback(chain.end)
        world = World.begin("lab")
        worlds.callback(world.end)
        world.agent.wait_reported()
        for name, measure in _measurements(world, chain, settings):
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            began, before = time.monotonic(), machine.CpuTimes.now()
            rows += attempt(name, measure)
            took[name] = {**before.until(machine.CpuTimes.now()), "seconds": round(time.monotonic() - began, 1)}
    return rows, facts


def _measurements(world: World, chain: Chain, settings: Settings) -> Iterator[tuple[str, Measure]]:
    stock, own = Stock(world), Own(world)
    parts: dict[str, tuple[str, Measure]] = {
        "idle": (idle.NAME, lambda: idle.measure(stock, chain, settings)),  # first: no session was opened yet
        "reports": (reports.NAME, lambda: reports.measure(stock, settings)),
        "opening": (opening.NAME, lambda: opening.measure(stock, own, chain, settings)),
        "keys": (keys.NAME, lambda: keys.measure(stock, own, chain, settings)),
        "bulk": (bulk.NAME, lambda: bulk.measure(stock, own, chain, settings)),
        "copies": (copies.NAME, lambda: copies.measure(stock, own, chain, settings)),
        "devices": (devices.NAME, lambda: devices.measure(chain, settings)),
        "storm": (storm.NAME, lambda: storm.measure(settings)),
        "inventory": (inventory.NAME, lambda: inventory.measure(settings)),
        "asked": (asked.NAME, lambda: asked.measure(settings)),
        "survival": (survival.NAME, lambda: survival.measure(stock, chain, settings)),
        "meshcentral": (meshcentral.NAME, lambda: beside_mesh.measure(stock, settings)),
    }
    return (part for name, part in parts.items() if name in settings.only)
