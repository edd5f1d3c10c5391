"""From what firmware lists to what a person finds under the lid: which slots are slots, and what is in them.

Firmware copies its list from a template. So an entry is no slot because it is listed: where the memory is of a kind
that is only ever soldered, there are none, whatever number of empty ones the table has.
"""

from __future__ import annotations

import re

import msgspec

from agent.facts.parsers.firmware import filled
from agent.facts.parsers.jedec import maker_name, maker_of_id, part_number
from agent.facts.parsers.smbios import Structure
from agent.facts.parsers.smbios_machine import parse_hardware
from agent.facts.parsers.smbios_memory import MAX_SLOTS, SYSTEM_MEMORY, MemoryArray, MemoryDevice, parse_memory
from protocol.sections.memory_slots import NOT_MEMORY, SLOTS, SOLDERED, VIRTUAL, MemorySlot

SOCKETED = frozenset({"CAMM", "DIMM", "DIP", "FB-DIMM", "RIMM", "SIMM", "SIP", "SO-DIMM", "SRIMM", "ZIP", "card"})
FOR_FIRMWARE = frozenset({"EEPROM", "EPROM", "FEPROM", "Flash", "ROM", "SRAM", "VRAM"})
"""What else is listed among the memory devices."""

VAGUE = frozenset({"", "DRAM", "RAM"})
ONLY_SOLDERED = ("LPDDR", "HBM")
"""Except on a CAMM."""

_ON_BOARD = re.compile(r"on[ -]?board|soldered|memory[ -]?down|\bmd\b", re.IGNORECASE)
_MADE_UP = re.compile(
    r"(?:[\w-]*_)?(?:module)?(?:manufacturer|partnumber|part ?num|sernum|serial ?number|assettag\w*)[ _]*\d*"
    r"|\[?empty\]?|no dimm|no module.*|null|not? (?:available|installed|present|specified)|bad index|<.*>|abcd|0+"
    r"|f{4,}|123456789\d*|default string",
    re.IGNORECASE,
)
"""What stands in a template until a module's own data take its place, and often after."""


class MemoryBoard(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of protocol.sections.memory.Memory of the same names."""

    board: str = ""
    portable: bool = False
    slots: tuple[MemorySlot, ...] = ()
    slots_said: int | None = None
    capacity: int | None = None
    ecc: str = ""
    empty_sockets: int = 0


def board_of_table(structures: tuple[Structure, ...], *, by_processor: bool = False) -> MemoryBoard | None:
    """None where the table tells nothing of memory. by_processor: the processor says that it is virtual."""
    hardware, table = parse_hardware(structures), parse_memory(structures)
    arrays = {array.handle: array for array in table.arrays if array.use == SYSTEM_MEMORY}
    known = {array.handle for array in table.arrays}
    devices = [
        device
        for device in table.devices
        if device.kind not in FOR_FIRMWARE and (device.array in arrays or device.array not in known)
    ]
    if not devices and not arrays:
        return None
    board = board_of_devices(devices, virtual=bool(hardware.virtual) or by_processor)
    said = sum(array.devices for array in arrays.values())
    return msgspec.structs.replace(
        board,
        portable=hardware.portable,
        slots_said=said if board.board == SLOTS and said and said != len(devices) and said <= MAX_SLOTS else None,
        capacity=_capacity(list(arrays.values())),
        ecc=next((array.correction for array in arrays.values() if array.correction), ""),
        empty_sockets=hardware.empty_sockets,
    )


def board_of_devices(devices: list[MemoryDevice], *, virtual: bool) -> MemoryBoard:
    """What is known of the slots alone. virtual: a hypervisor gives the memory, so that none of them is a slot."""
    slots, board = _slots(devices)
    if virtual:
        return MemoryBoard(board=VIRTUAL, slots=tuple(slot for slot in slots if slot.filled))
    return MemoryBoard(board=board, slots=slots)


def _capacity(arrays: list[MemoryArray]) -> int | None:
    """Bytes of all arrays; None where one does not say."""
    sizes = [array.capacity for array in arrays]
    known = [size for size in sizes if size is not None]
    return sum(known) if known and len(known) == len(sizes) else None


def _slots(devices: list[MemoryDevice]) -> tuple[tuple[MemorySlot, ...], str]:
    listed = [_slot(device) for device in devices]
    modules = [slot for slot in listed if slot.filled and slot.kind not in NOT_MEMORY]
    if modules and all(slot.soldered for slot in modules):
        # An empty one is a slot if it has a form of one, and if what is soldered could share the bus with a module.
        exclusive = any(slot.kind.startswith(ONLY_SOLDERED) for slot in modules)
        listed = [slot for slot in listed if slot.filled or (not exclusive and slot.form in SOCKETED)]
        if all(slot.filled for slot in listed):
            return tuple(listed), SOLDERED
        return tuple(listed), SLOTS
    if any(slot.form in SOCKETED for slot in listed) or any(slot.kind not in VAGUE for slot in modules):
        return tuple(listed), SLOTS
    return tuple(listed), ""


def _slot(device: MemoryDevice) -> MemorySlot:
    maker, part = real(device.maker), real(device.part)
    there = device.size != 0
    return MemorySlot(
        slot=device.slot,
        bank=device.bank,
        size=device.size,
        kind=device.kind if there else "",
        form=device.form,
        soldered=_is_soldered(device),
        rated_mts=device.rated_mts if there else None,
        configured_mts=device.configured_mts if there else None,
        maker=maker_name(maker) or (maker_of_id(device.maker_id) if there else ""),
        part=real(part_number(part)),
        ecc=_has_check_bits(device),
        registered=device.registered if there else None,
        ranks=device.ranks if there else None,
    )


def _is_soldered(device: MemoryDevice) -> bool:
    """The kind of an empty slot is the template's, and says nothing."""
    if device.form == "CAMM":
        return False
    if device.form == "chips" or (device.size != 0 and device.kind.startswith(ONLY_SOLDERED)):
        return True
    return bool(_ON_BOARD.search(f"{device.slot} {device.bank}"))


def _has_check_bits(device: MemoryDevice) -> bool | None:
    """Widths that no module has are mistakes: 8 of 8 bits for one of 64 is met."""
    total, data = device.total_width, device.data_width
    if device.size == 0 or total is None or data is None or data < 16 or not data <= total <= data * 3 // 2:
        return None
    return total > data


def real(text: str) -> str:
    """`text`, or "" for what stands there where nothing is known."""
    return "" if not filled(text) or _MADE_UP.fullmatch(text) else text
