"""What systemd's udev keeps of the firmware's table: the memory slots, for who may not read the table itself.

Its database has a line `E:MEMORY_DEVICE_0_SIZE=8589934592` for each field. Source: systemd,
src/udev/dmi_memory_id/dmi_memory_id.c (since version 248).
"""

from __future__ import annotations

import re

import msgspec

from agent.facts.parsers.firmware import filled
from agent.facts.parsers.memory_board import FOR_FIRMWARE, MemoryBoard, board_of_devices
from agent.facts.parsers.smbios import MAX_STRING_CHARS
from agent.facts.parsers.smbios_memory import (
    CORRECTIONS,
    FORMS,
    KINDS,
    MAX_ARRAY_BYTES,
    MAX_MODULE_BYTES,
    MAX_MTS,
    MAX_SLOTS,
    MAX_WIDTH,
    MemoryDevice,
    credible_form,
    in_transfers,
)

ONE_ARRAY_SLOTS = 8
"""It keeps the capacity of the last array alone. Machines with more slots than this have several, one a processor."""

FORM_NAMES = {name: name for name in FORMS.values()} | {
    "Chip": "chips",
    "TSOP": "chips",
    "Row Of Chips": "chips",
    "Die": "chips",
    "SODIMM": "SO-DIMM",
    "Proprietary Card": "card",
}
KIND_NAMES = {name: name for name in KINDS.values()} | {"DDR2 FB-DIMM": "DDR2", "Logical non-volatile device": "NVDIMM"}
CORRECTION_NAMES = {name.lower(): name for name in CORRECTIONS.values()}

_LINE = re.compile(r"(?:E:)?MEMORY_(ARRAY|DEVICE_[0-9]{1,4})_([A-Z_]{1,64})=(.{0,200})")
_MAKER = re.compile(r"Bank ([0-9]{1,3}), Hex 0x([0-9A-F]{2})")


def parse_udev_memory(text: str, *, virtual: bool, portable: bool) -> MemoryBoard | None:
    """None where it has no slots. virtual, portable: as other files of the system say."""
    array: dict[str, str] = {}
    listed: dict[int, dict[str, str]] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        number = int(found[1][7:]) if found[1] != "ARRAY" else -1
        fields = array if number < 0 else listed.setdefault(number, {}) if number < MAX_SLOTS else {}
        fields[found[2]] = found[3]
    if not listed:
        return None
    devices = [device for number in sorted(listed) if (device := _device(listed[number])).kind not in FOR_FIRMWARE]
    guarded = array.get("EC_TYPE", "None" if array else "").lower()  # "None" is not written down
    return msgspec.structs.replace(
        board_of_devices(list(in_transfers(devices)), virtual=virtual),
        portable=portable,
        capacity=_number(array, "MAX_CAPACITY", MAX_ARRAY_BYTES) if len(devices) <= ONE_ARRAY_SLOTS else None,
        ecc=CORRECTION_NAMES.get(guarded, ""),
    )


def _device(fields: dict[str, str]) -> MemoryDevice:
    kind = KIND_NAMES.get(fields.get("TYPE", ""), "")
    form = "FB-DIMM" if "FB-DIMM" in fields.get("TYPE", "") else FORM_NAMES.get(fields.get("FORM_FACTOR", ""), "")
    maker = _MAKER.fullmatch(fields.get("MODULE_MANUFACTURER_ID", ""))
    return MemoryDevice(
        array=0,
        slot=_text(fields, "LOCATOR"),
        bank=_text(fields, "BANK_LOCATOR"),
        size=0 if fields.get("PRESENT") == "0" else _number(fields, "SIZE", MAX_MODULE_BYTES),
        kind=kind,
        form=credible_form(kind, form),
        total_width=_number(fields, "TOTAL_WIDTH", MAX_WIDTH),
        data_width=_number(fields, "DATA_WIDTH", MAX_WIDTH),
        rated_mts=_number(fields, "SPEED_MTS", MAX_MTS),
        configured_mts=_number(fields, "CONFIGURED_SPEED_MTS", MAX_MTS),
        maker=_text(fields, "MANUFACTURER"),
        maker_id=int(maker[2], 16) << 8 | (int(maker[1]) - 1) & 0x7F if maker else None,
        part=_text(fields, "PART_NUMBER"),
        registered=_registered(fields.get("TYPE_DETAIL", "")),
        ranks=_number(fields, "RANK", 15),
    )


def _registered(detail: str) -> bool | None:
    if re.search(r"\bRegistered|LRDIMM", detail):
        return True
    return False if "Unbuffered" in detail else None


def _text(fields: dict[str, str], name: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in fields.get(name, ""))
    return filled(shown.replace("\ufffd", " "))[:MAX_STRING_CHARS]


def _number(fields: dict[str, str], name: str, most: int) -> int | None:
    text = fields.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 and 0 < int(text) <= most else None
