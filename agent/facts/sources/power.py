"""Sources on power: batteries, and what feeds the machine."""

from __future__ import annotations

import os
from pathlib import Path

from agent.facts.parsers.power_supply import Supply, parse_supply
from agent.facts.source import LINUX, Source, fit_text
from agent.facts.sources.files import read_line
from protocol.sections.battery import Cell

POWER_SUPPLY = Path("/sys/class/power_supply")
MAX_SUPPLIES = 32


def _supplies() -> tuple[Supply, ...]:
    if not POWER_SUPPLY.exists():
        return ()  # the kernel knows no supplies: a server, a virtual machine
    names = sorted(os.listdir(POWER_SUPPLY))[:MAX_SUPPLIES]
    return tuple(parse_supply(fit_text(name, 64), read_line(POWER_SUPPLY / name / "uevent")) for name in names)


def _supplies_elsewhere() -> tuple[Supply, ...]:
    """Windows, macOS: all batteries as one, without wear."""
    import psutil

    battery = psutil.sensors_battery()
    if battery is None:
        return ()
    percent = min(100, max(0, round(battery.percent)))
    return Supply(cell=Cell(name="battery", percent=percent)), Supply(online=battery.power_plugged)


SUPPLIES = Source(name="power_supply", ask=_supplies, platforms=LINUX)
SUPPLIES_ELSEWHERE = Source(name="power_supply", ask=_supplies_elsewhere, platforms=frozenset({"win32", "darwin"}))
