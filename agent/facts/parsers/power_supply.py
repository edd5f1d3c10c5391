"""One power supply of Linux, from its uevent. Documentation/ABI/testing/sysfs-class-power in the kernel."""

from __future__ import annotations

import msgspec

from protocol.sections.battery import Cell

MAX_VALUE_CHARS = 100
MAX_HEALTH_PERCENT = 130
"""New cells hold up to a fifth more than they are sold for; above that the gauge's numbers are nonsense."""

_STATES = {"charging": "charging", "discharging": "discharging", "full": "full", "not charging": "idle"}


class Supply(msgspec.Struct, frozen=True):
    """cell: of a battery that powers the machine and is in its bay.  online: of what feeds it; None: no feed."""

    cell: Cell | None = None
    online: bool | None = None


def parse_supply(name: str, text: str) -> Supply:
    """name: of its folder.  text: its uevent file. A mouse's battery (scope Device) is neither."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.startswith("POWER_SUPPLY_"):
            values[key.removeprefix("POWER_SUPPLY_")] = value.strip()[:MAX_VALUE_CHARS]
    if values.get("SCOPE", "").lower() == "device":
        return Supply()
    kind = values.get("TYPE", "")
    if kind == "Battery":
        return Supply(cell=_cell(name, values) if values.get("PRESENT", "1") != "0" else None)
    if (kind == "Mains" or kind.startswith("USB")) and "ONLINE" in values:
        return Supply(online=values["ONLINE"] != "0")
    return Supply()


def _cell(name: str, values: dict[str, str]) -> Cell:
    full, design = _pair(values, "FULL", "FULL_DESIGN")
    percent = _number(values.get("CAPACITY", ""))
    if percent is None:
        now, whole = _pair(values, "NOW", "FULL")
        percent = 100 * now // whole if now is not None and whole else None
    health = round(100 * full / design) if full and design else None
    maker, model = values.get("MANUFACTURER", ""), values.get("MODEL_NAME", "")
    return Cell(
        name=name[:MAX_VALUE_CHARS],
        model=" ".join(f"{maker} {model}".split()),
        percent=min(100, percent) if percent is not None else None,
        state=_STATES.get(values.get("STATUS", "").lower(), ""),
        health_percent=health if health is not None and 0 < health <= MAX_HEALTH_PERCENT else None,
        cycles=_number(values.get("CYCLE_COUNT", "")) or None,  # 0 is what firmware says that does not count
    )


def _pair(values: dict[str, str], *suffixes: str) -> tuple[int | None, int | None]:
    """Both in one unit: microwatt-hours where they are given, else microampere-hours."""
    for unit in ("ENERGY", "CHARGE"):
        first, second = (_number(values.get(f"{unit}_{suffix}", "")) for suffix in suffixes)
        if first is not None and second is not None:
            return first, second
    return None, None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
