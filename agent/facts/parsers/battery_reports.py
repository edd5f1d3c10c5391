"""Batteries as other systems' programs tell of them: UPower, acpi(1), powercfg, system_profiler, acpiconf."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.facts.parsers.power_supply import MAX_HEALTH_PERCENT, Supply
from protocol.sections.battery import Cell

MAX_CELLS = 16
MAX_TEXT_CHARS = 100
MAX_CYCLES = 20_000
"""Three a day for twenty years."""

_STATES = {
    "charging": "charging",
    "discharging": "discharging",
    "empty": "discharging",
    "full": "full",
    "fully-charged": "full",
    "not charging": "idle",
    "pending-charge": "idle",
    "pending-discharge": "idle",
    "high": "full",  # acpiconf's word for neither charging nor discharging
}


def _number(text: str | None) -> float | None:
    """The number that a value begins with, with a point or a comma, as the system's language has it."""
    found = re.match(r"\s*([0-9]{1,12}(?:[.,][0-9]{1,6})?)", text or "")
    return float(found[1].replace(",", ".")) if found else None


def _health(full: float | None, design: float | None) -> int | None:
    health = round(100 * full / design) if full and design else 0
    return health if 0 < health <= MAX_HEALTH_PERCENT else None


def _percent(value: float | None) -> int | None:
    return round(value) if value is not None and 0 <= value <= 100 else None


def _cycles(value: float | None) -> int | None:
    return round(value) if value is not None and 0 < value <= MAX_CYCLES else None


def _name(text: str, number: int) -> str:
    return " ".join(text.split())[:MAX_TEXT_CHARS] or f"battery {number}"


def parse_upower(text: str) -> tuple[Supply, ...]:
    """`upower -d`, or `upower -i` of one device. Without batteries of mice and of other devices."""
    found: list[Supply] = []
    for values, kinds in _upower_devices(text):
        if "line-power" in kinds and values.get("online") in ("yes", "no"):
            found.append(Supply(online=values["online"] == "yes"))
        if "battery" not in kinds or values.get("power supply") != "yes" or values.get("present") == "no":
            continue
        name = values.get("native-path", "").rsplit("/", 1)[-1]
        model = f"{values.get('vendor', '')} {values.get('model', '')}"
        full, design = _number(values.get("energy-full")), _number(values.get("energy-full-design"))
        health = _health(full, design)
        told = _percent(_number(values.get("capacity")))
        cell = Cell(
            name=_name(name, len(found)),
            model=" ".join(model.split())[:MAX_TEXT_CHARS],
            percent=_percent(_number(values.get("percentage"))),
            state=_STATES.get(values.get("state", "").lower(), ""),
            # The firmware's own word, where it differs from the two capacities: some reset them with the gauge.
            health_percent=told if told and (health is None or told < health) else health,
            cycles=_cycles(_number(values.get("charge-cycles"))),
        )
        found.append(Supply(cell=cell))
        if len(found) >= MAX_CELLS:
            break
    return tuple(found)


def _upower_devices(text: str) -> Iterator[tuple[dict[str, str], set[str]]]:
    """Values and headings ("battery", "line-power") of each device. Histories come last and have no colon."""
    values: dict[str, str] = {}
    kinds: set[str] = set()
    for line in [*text.splitlines()[:20_000], "Device: end"]:
        key, colon, value = line.partition(":")
        if line.startswith(("Device:", "Daemon:")) or key.strip() == "native-path":
            if values:
                yield values, kinds
            values, kinds = {}, set()
        if colon and (line.startswith(" ") or key == "native-path"):
            values.setdefault(key.strip(), value.strip()[:MAX_TEXT_CHARS])
        elif line.startswith("  "):
            kinds.add(line.strip())


def parse_acpi(text: str) -> tuple[Supply, ...]:
    """`acpi -V`: batteries with their state, and on the line after it their capacities; adapters."""
    cells: dict[str, Cell] = {}
    feeds: list[Supply] = []
    for line in text.splitlines()[:2000]:
        if re.search(r", 0%, rate information unavailable", line):
            continue  # of a mouse that is away, or of an empty bay
        if found := re.match(r"Battery ([0-9]{1,2}): ([A-Z][a-z ]{2,20}), ([0-9]{1,3})%", line):
            state = _STATES.get(found[2].lower(), "")
            cells[found[1]] = Cell(name=f"battery {found[1]}", percent=_percent(int(found[3])), state=state)
        elif found := re.match(
            r"Battery ([0-9]{1,2}): design capacity ([0-9]{1,7}) mAh, last full capacity ([0-9]{1,7}) mAh", line
        ):
            if (cell := cells.get(found[1])) is not None:
                health = _health(int(found[3]), int(found[2]))
                cells[found[1]] = Cell(name=cell.name, percent=cell.percent, state=cell.state, health_percent=health)
        elif found := re.match(r"Adapter [0-9]{1,2}: (on|off)-line", line):
            feeds.append(Supply(online=found[1] == "on"))
    return (*(Supply(cell=cell) for cell in cells.values()), *feeds)[:MAX_CELLS]


def parse_powercfg(data: bytes) -> tuple[Cell, ...]:
    """`powercfg /batteryreport /xml`: capacities and cycles of each battery, not its charge. Read without an XML
    parser: the elements are flat, and a document from outside can make one work for hours."""
    text = data[: 1 << 20].decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    section = re.search(r"<Batteries>(.*?)</Batteries>", text, re.DOTALL)
    found: list[Cell] = []
    for part in (section[1] if section else "").split("<Battery>")[1 : MAX_CELLS + 1]:
        values = dict(re.findall(r"<(\w{1,40})>([^<]{0,200})</\1>", part))
        found.append(
            Cell(
                name=_name(_unescaped(values.get("Id", "")), len(found)),
                model=" ".join(_unescaped(values.get("Manufacturer", "")).split())[:MAX_TEXT_CHARS],
                health_percent=_health(
                    _number(values.get("FullChargeCapacity")), _number(values.get("DesignCapacity"))
                ),
                cycles=_cycles(_number(values.get("CycleCount"))),
            )
        )
    return tuple(found)


def _unescaped(text: str) -> str:
    for name, char in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(name, char)
    return text


def parse_system_profiler(text: str) -> tuple[Supply, ...]:
    """`system_profiler SPPowerDataType` of macOS. It knows no design capacity on Intel machines, but a condition."""
    values: dict[str, str] = {}
    section = ""
    for line in text.splitlines()[:5000]:
        key, colon, value = line.strip().partition(":")
        if colon and not value.strip():
            section = key
        elif colon:
            values.setdefault(f"{section}/{key}", value.strip()[:MAX_TEXT_CHARS])
    found: list[Supply] = []
    if values.get("Health Information/Battery Installed", values.get("Battery Information/Battery Installed")) != "No":
        left = _number(values.get("Charge Information/Charge Remaining (mAh)"))
        full = _number(values.get("Charge Information/Full Charge Capacity (mAh)"))
        percent = _number(values.get("Charge Information/State of Charge (%)"))
        if percent is None and left is not None and full:
            percent = 100 * left / full
        health = _number(values.get("Health Information/Maximum Capacity"))
        maker, model = (values.get(f"Model Information/{key}", "") for key in ("Manufacturer", "Device Name"))
        if percent is not None or health is not None:
            cell = Cell(
                name="battery",
                model=f"{maker} {model}".strip()[:MAX_TEXT_CHARS],
                percent=_percent(min(percent, 100)) if percent is not None else None,
                state=_mac_state(values),
                health_percent=_health(health, 100),
                cycles=_cycles(_number(values.get("Health Information/Cycle Count"))),
                condition=_condition(values.get("Health Information/Condition", "")),
            )
            found.append(Supply(cell=cell))
    if (connected := values.get("AC Charger Information/Connected")) in ("Yes", "No"):
        found.append(Supply(online=connected == "Yes"))
    return tuple(found)


def _mac_state(values: dict[str, str]) -> str:
    if values.get("Charge Information/Charging") == "Yes":
        return "charging"
    if values.get("Charge Information/Fully Charged") == "Yes":
        return "full"
    return "discharging" if values.get("AC Charger Information/Connected") == "No" else "idle"


def _condition(text: str) -> str:
    """Apple's words: Normal, Good; Service Recommended, Replace Soon, Replace Now, Check Battery, Service Battery."""
    return "" if not text else "good" if text.lower() in ("normal", "good") else "service"


def parse_acpiconf(text: str, number: int = 0) -> tuple[Supply, ...]:
    """`acpiconf -i N` of FreeBSD."""
    values: dict[str, str] = {}
    for line in text.splitlines()[:200]:
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip().lower(), value.strip()[:MAX_TEXT_CHARS])
    full, design = _number(values.get("last full capacity")), _number(values.get("design capacity"))
    if (full is None and "state" not in values) or values.get("state") == "not present":
        return ()
    cell = Cell(
        name=f"battery {number}",
        model=" ".join(values.get("model number", "").split()),
        percent=_percent(_number(values.get("remaining capacity"))),
        state=_STATES.get(values.get("state", "").lower(), ""),
        health_percent=_health(full, design),
        cycles=_cycles(_number(values.get("cycle count"))),
    )
    return (Supply(cell=cell),)
