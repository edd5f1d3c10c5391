"""What macOS says of its memory: `system_profiler SPMemoryDataType`, as JSON (from macOS 10.15 on) or as text.

Texts are in the language of whoever asks; numbers and names of kinds are not, and JSON's keys are not either.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from agent.facts.parsers.firmware import filled
from agent.facts.parsers.jedec import maker_name, part_number
from agent.facts.parsers.memory_board import ONLY_SOLDERED, MemoryBoard, real
from protocol.sections.memory_slots import SLOTS, SOLDERED, MemorySlot

MAX_SLOTS = 64
MAX_VALUE_CHARS = 64
MAX_UNITS = 4096
UNITS = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
BYTES_A_TRANSFER = 8
FASTEST_CLOCK = 166
"""Of a module named after its clock, PC133; the others are named after their bandwidth, PC2700 and PC2-5300."""

SOLD_MTS = (200, 266, 333, 400, 533, 667, 800, 1066, 1333, 1600, 1866, 2133, 2400, 2666, 2933, 3200)
"""A bandwidth is rounded, so what follows from it is not what the module is sold as, but near it."""

_SIZE = re.compile(r"([0-9]{1,5}) ?([KMGT]B)")
_SPEED = re.compile(r"([0-9]{2,5}) ?(?:MHz|MT/s)")
_BANDWIDTH = re.compile(r"PC(?:[234]-)?([0-9]{2,5})")
_FIELD = re.compile(r"^( *)([^:\n]{1,64}):(?: (.{0,200}))?$")


def parse_memory_json(data: bytes) -> MemoryBoard | None:
    """None for what is no such answer."""
    try:
        answer: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    listed = answer.get("SPMemoryDataType") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return None
    modules: list[dict[str, str]] = []
    about: dict[str, str] = {}
    for group in listed[:MAX_SLOTS]:
        if not isinstance(group, dict):
            continue
        about |= _texts(group)
        items = group.get("_items")
        if isinstance(items, list):
            modules += [_texts(item) for item in items[:MAX_SLOTS] if isinstance(item, dict)]
        elif "dimm_size" in group:
            modules.append(_texts(group))
    named = [
        {name.removeprefix("dimm_"): value for name, value in module.items()} | {"slot": module.get("_name", "")}
        for module in modules[:MAX_SLOTS]
    ]
    whole = {"size": about.get("SPMemoryDataType", ""), "type": about.get("dimm_type", "")}
    whole["manufacturer"] = about.get("dimm_manufacturer", "")
    ecc = about.get("global_ecc_state", "").removeprefix("ecc_")
    return _board(named, whole, ecc, about.get("is_memory_upgradeable", ""))


def parse_memory_text(text: str) -> MemoryBoard | None:
    """The part `Memory:` of the text; None where there is none."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line == "Memory:"), None)
    if start is None:
        return None
    modules: list[dict[str, str]] = []
    about: dict[str, str] = {}
    into = about
    for line in lines[start + 1 :]:
        found = _FIELD.match(line)
        if line and not line.startswith(" "):
            break
        if found is None:
            continue
        name, value = found[2].strip(), found[3]
        if value is None:
            into = {"slot": name}
            modules.append(into)
        else:
            into.setdefault(name.lower(), value.strip())
    # A group has a heading as a module has, and no size.
    for group in modules:
        if "size" not in group:
            about |= {name: value for name, value in group.items() if name != "slot"}
    listed = [module | {"part_number": module.get("part number", "")} for module in modules if "size" in module]
    whole = {"size": about.get("memory", ""), "type": about.get("type", "")}
    whole["manufacturer"] = about.get("manufacturer", "")
    return _board(listed[:MAX_SLOTS], whole, about.get("ecc", ""), about.get("upgradeable memory", ""))


def _texts(group: dict[Any, Any]) -> dict[str, str]:
    return {str(name): value for name, value in group.items() if isinstance(value, str)}


def _board(modules: list[dict[str, str]], whole: dict[str, str], ecc: str, upgradeable: str) -> MemoryBoard | None:
    if not modules and not _bytes(whole["size"]):
        return None
    if not modules:  # the memory is part of the processor's package
        return MemoryBoard(board=SOLDERED, slots=(_slot(whole, soldered=True),))
    fixed = upgradeable.lower() == "no"
    slots = tuple(_slot(module, soldered=fixed) for module in modules)
    soldered = bool(slots) and all(slot.soldered for slot in slots)
    return MemoryBoard(
        board=SOLDERED if soldered else SLOTS,
        slots=slots,
        ecc={"disabled": "none", "enabled": "single-bit ECC"}.get(ecc.lower(), ""),
    )


def _slot(module: dict[str, str], *, soldered: bool) -> MemorySlot:
    kind = next(iter(filled(module.get("type", "")).split()), "")  # "DDR2 SDRAM"
    kind = kind if re.fullmatch(r"[A-Z0-9]{2,12}", kind) else ""
    maker, part = real(module.get("manufacturer", "")), real(part_number(module.get("part_number", "").strip()))
    return MemorySlot(
        slot=" ".join(module.get("slot", "").split())[:MAX_VALUE_CHARS],
        size=_bytes(module.get("size", "")),
        kind=kind,
        soldered=soldered or kind.startswith(ONLY_SOLDERED),
        rated_mts=_speed(module.get("speed", "")),
        maker=maker_name(maker)[:MAX_VALUE_CHARS],
        part=part[:MAX_VALUE_CHARS],
    )


def _bytes(text: str) -> int | None:
    """0 for "Empty"; None for what is no size."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return 0 if text.strip().lower() in ("empty", "(empty)") else None
    return int(found[1]) * UNITS[found[2]] if int(found[1]) <= MAX_UNITS else None


def _speed(text: str) -> int | None:
    """Megatransfers a second, of "1067 MHz", which are transfers, and of "PC2-4200U-444"."""
    if found := _SPEED.fullmatch(text.strip()):
        return int(found[1]) or None
    found = _BANDWIDTH.match(text.strip())
    number = int(found[1]) if found else 0
    if number <= FASTEST_CLOCK:
        return number or None
    return min(SOLD_MTS, key=lambda sold: abs(sold - number / BYTES_A_TRANSFER))
