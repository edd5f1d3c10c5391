"""Sources on power: batteries, and what feeds the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import msgspec

from agent.facts.parsers.battery_reports import (
    parse_acpi,
    parse_acpiconf,
    parse_powercfg,
    parse_system_profiler,
    parse_upower,
)
from agent.facts.parsers.power_supply import Supply, parse_supply
from agent.facts.source import LINUX, Source, find_program, fit_text
from agent.facts.sources.command import run
from agent.facts.sources.files import read_bytes, read_line
from protocol.sections.battery import Cell

POWER_SUPPLY = Path("/sys/class/power_supply")
MAX_SUPPLIES = 32
REPORT_S = 15.0
"""powercfg reads its history of months first; system_profiler asks everything that it may need."""

WINDOWS = frozenset({"win32"})
MACOS = frozenset({"darwin"})
FREEBSD = frozenset({"freebsd13", "freebsd14", "freebsd15"})


def _supplies() -> tuple[Supply, ...]:
    if not POWER_SUPPLY.exists():
        return _by_programs()
    names = sorted(os.listdir(POWER_SUPPLY))[:MAX_SUPPLIES]
    return tuple(parse_supply(fit_text(name, 64), read_line(POWER_SUPPLY / name / "uevent")) for name in names)


def _by_programs() -> tuple[Supply, ...]:
    """Where the kernel shows no supplies: a server or virtual machine that has none, or one whose power is watched by
    a program."""
    if find_program("upower") is not None:
        return parse_upower(run("upower", "-d", deadline_s=REPORT_S).text)
    if find_program("acpi") is not None:
        return parse_acpi(run("acpi", "-V", deadline_s=REPORT_S).text)
    return ()


def _supplies_elsewhere() -> tuple[Supply, ...]:
    """Windows, macOS: all batteries as one, without wear."""
    import psutil

    battery = psutil.sensors_battery()
    if battery is None:
        return ()
    percent = min(100, max(0, round(battery.percent)))
    return Supply(cell=Cell(name="battery", percent=percent)), Supply(online=battery.power_plugged)


def _battery_report() -> tuple[Cell, ...]:
    """Windows' own report: capacity and cycles of each battery."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.xml")
        run("powercfg", "/batteryreport", "/xml", "/output", path, deadline_s=REPORT_S)
        return parse_powercfg(read_bytes(path))


def _system_profiler() -> tuple[Supply, ...]:
    return parse_system_profiler(run("system_profiler", "SPPowerDataType", deadline_s=REPORT_S).text)


def _acpiconf() -> tuple[Supply, ...]:
    found: tuple[Supply, ...] = ()
    for number in range(4):
        printed = run("acpiconf", "-i", str(number), deadline_s=REPORT_S)
        if printed.status != 0:
            break
        found += parse_acpiconf(printed.text, number)
    return found


def with_charge(cells: tuple[Cell, ...], now: tuple[Supply, ...]) -> tuple[Supply, ...]:
    """Batteries of a report that knows no charge, with the charge of all together."""
    charge = next((supply.cell for supply in now if supply.cell is not None), None)
    feeds = tuple(supply for supply in now if supply.cell is None)
    if charge is None or not cells:
        return now
    return (*(Supply(cell=msgspec.structs.replace(cell, percent=charge.percent)) for cell in cells), *feeds)


SUPPLIES = Source(name="power_supply", ask=_supplies, platforms=LINUX, deadline_s=REPORT_S + 2)
SUPPLIES_ELSEWHERE = Source(name="power_supply", ask=_supplies_elsewhere, platforms=WINDOWS | MACOS)
BATTERY_REPORT = Source(
    name="battery_report", ask=_battery_report, platforms=WINDOWS, program="powercfg", deadline_s=REPORT_S + 2
)
SYSTEM_PROFILER = Source(
    name="system_profiler", ask=_system_profiler, platforms=MACOS, program="system_profiler", deadline_s=REPORT_S + 2
)
ACPICONF = Source(name="acpiconf", ask=_acpiconf, platforms=FREEBSD, program="acpiconf", deadline_s=REPORT_S + 2)
