"""Sensors and fans of one chip, from the values of Linux' sysfs. Documentation/hwmon/sysfs-interface.rst."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from protocol.sections.temperatures import Fan, Sensor

MAX_LABEL_CHARS = 40
COLDEST_C, HOTTEST_C = -40, 126
"""127 is what many chips say of a place where nothing is soldered; 0 what others say."""

MAX_EACH = 32
"""Of a chip. A server's board has 20."""


class Chip(msgspec.Struct, frozen=True):
    sensors: tuple[Sensor, ...] = ()
    fans: tuple[Fan, ...] = ()


def parse_chip(name: str, values: Mapping[str, str]) -> Chip:
    """values: of the chip's folder, by file ("temp1_input": "45000", in thousandths of a degree).

    Where a processor has a sensor for the whole of it, those of its cores are left out.
    """
    chip = " ".join(name.split())[:MAX_LABEL_CHARS]
    sensors = [s for number in _numbers(values, "temp") if (s := _sensor(chip, f"temp{number}", values)) is not None]
    if any(sensor.label.startswith("Package") for sensor in sensors):
        sensors = [sensor for sensor in sensors if not sensor.label.startswith("Core ")]
    fans = tuple(_fan(chip, f"fan{number}", values) for number in _numbers(values, "fan"))
    return Chip(tuple(sensors[:MAX_EACH]), fans[:MAX_EACH])


def _numbers(values: Mapping[str, str], kind: str) -> list[int]:
    found = (re.fullmatch(rf"{kind}([0-9]{{1,3}})_(?:input|fault)", name) for name in values)
    return sorted({int(match[1]) for match in found if match})


def _sensor(chip: str, at: str, values: Mapping[str, str]) -> Sensor | None:
    celsius = celsius_of(values.get(f"{at}_input", ""))
    if celsius is None or values.get(f"{at}_fault") == "1":
        return None
    return Sensor(
        chip=chip,
        label=" ".join(values.get(f"{at}_label", "").split())[:MAX_LABEL_CHARS],
        celsius=celsius,
        high_c=_limit(values.get(f"{at}_max", "")),
        critical_c=_limit(values.get(f"{at}_crit", "")),
    )


def celsius_of(text: str) -> int | None:
    """Thousandths of a degree, as text; None for what no sensor measures."""
    if not re.fullmatch(r"-?[0-9]{1,7}", text, re.ASCII):
        return None
    celsius = round(int(text) / 1000)
    return celsius if COLDEST_C <= celsius <= HOTTEST_C and celsius != 0 else None


def _limit(text: str) -> int | None:
    """None where the chip has a limit that is none: 0, or more than anything bears."""
    celsius = celsius_of(text)
    return celsius if celsius is not None and celsius > 30 else None


def _fan(chip: str, at: str, values: Mapping[str, str]) -> Fan:
    turns = values.get(f"{at}_input", "")
    return Fan(
        chip=chip,
        label=" ".join(values.get(f"{at}_label", "").split())[:MAX_LABEL_CHARS] or at,
        turns=int(turns) > 0 if re.fullmatch(r"[0-9]{1,6}", turns, re.ASCII) else None,
        fault=values.get(f"{at}_fault") == "1",
    )
