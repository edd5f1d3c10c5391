"""Sources on heat, fans, and processors that are slowed down."""

from __future__ import annotations

import os
from pathlib import Path

from agent.facts.parsers.hwmon import Chip, celsius_of, parse_chip
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.files import read_line, read_number
from protocol.sections.temperatures import Sensor

HWMON = Path("/sys/class/hwmon")
THERMAL = Path("/sys/class/thermal")
CPUS = Path("/sys/devices/system/cpu")
RASPBERRY = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
MAX_CHIPS, MAX_ZONES, MAX_CPUS = 64, 64, 1024
_PARTS = ("_input", "_label", "_max", "_crit", "_fault")

UNDER_VOLTAGE_NOW, UNDER_VOLTAGE_BEFORE = 1 << 0, 1 << 16
"""Bits of the Raspberry Pi's `get_throttled`. Source: raspberrypi.com, vcgencmd."""


def _chips() -> tuple[Chip, ...]:
    """One chip whose driver hangs would hang them all: it is one question, with one deadline."""
    if not HWMON.exists():
        return ()
    return tuple(_chip(HWMON / name) for name in sorted(os.listdir(HWMON))[:MAX_CHIPS])


def _chip(folder: Path) -> Chip:
    try:
        names = [n for n in os.listdir(folder) if n.startswith(("temp", "fan")) and n.endswith(_PARTS)]
    except OSError:
        return Chip()  # it was unplugged meanwhile
    return parse_chip(read_line(folder / "name"), {name: read_line(folder / name) for name in names[:400]})


def _zones() -> tuple[Sensor, ...]:
    """Where no chip has a driver of hwmon: boards with ARM processors, some laptops."""
    if not THERMAL.exists():
        return ()
    found = []
    for folder in sorted(THERMAL.glob("thermal_zone[0-9]*"))[:MAX_ZONES]:
        celsius = celsius_of(read_line(folder / "temp"))
        if celsius is not None:
            found.append(Sensor(chip=read_line(folder / "type")[:40], celsius=celsius, critical_c=_critical(folder)))
    return tuple(found)


def _critical(zone: Path) -> int | None:
    for number in range(12):
        if read_line(zone / f"trip_point_{number}_type") == "critical":
            return celsius_of(read_line(zone / f"trip_point_{number}_temp"))
    return None


def _throttled() -> int:
    """How often the processor's package was slowed down since the start: the most of any of them."""
    names = ("package_throttle_count", "core_throttle_count")
    folders = list(CPUS.glob("cpu[0-9]*/thermal_throttle"))[:MAX_CPUS]
    counts = [read_number(folder / name) for folder in folders for name in names]
    known = [count for count in counts if count is not None]
    if not known:
        raise Missing("this processor does not count how often it was slowed down")
    return max(known)


def _under_voltage() -> bool | None:
    """None where nothing watches the voltage: all but the Raspberry Pi."""
    text = read_line(RASPBERRY)
    if not text:
        return None
    bits = int(text, 16)
    return bool(bits & (UNDER_VOLTAGE_NOW | UNDER_VOLTAGE_BEFORE))


CHIPS = Source(name="hwmon", ask=_chips, platforms=LINUX)
ZONES = Source(name="thermal", ask=_zones, platforms=LINUX)
THROTTLED = Source(name="throttle_count", ask=_throttled, platforms=LINUX)
UNDER_VOLTAGE = Source(name="under_voltage", ask=_under_voltage, platforms=LINUX)
