"""SMBIOS structures 16, 17 and 19: arrays of memory, what sits in their slots, what of it is mapped. DSP0134 7.17 on.

Values beyond what can be built are taken for firmware's mistakes, and are None.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from agent.facts.parsers.smbios import Structure

ARRAY, DEVICE, MAPPED = 16, 17, 19

KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
MAX_SLOTS = 1024
MAX_MODULE_BYTES = 4 * TIB
"""Eight times the largest that is sold."""

MAX_ARRAY_BYTES = 256 * TIB
"""The most that a processor of today can address with 48 bits."""

MIN_MTS, MAX_MTS = 1, 25_600
"""DDR6 is announced with 17,600. DDR began with 200; before it, 66."""

MAX_WIDTH = 1024
"""Bits: of a stack of HBM."""

SYSTEM_MEMORY = 3
UNKNOWN_WORD = 0xFFFF
EXTENDED_WORD = 0x7FFF
EXTENDED_CAPACITY = 0x80000000
EXTENDED_DWORD = 0xFFFFFFFF
IN_KIB = 0x8000

CORRECTIONS = {3: "none", 4: "parity", 5: "single-bit ECC", 6: "multi-bit ECC", 7: "CRC"}

FORMS = {
    0x03: "SIMM",
    0x04: "SIP",
    0x05: "chips",
    0x06: "DIP",
    0x07: "ZIP",
    0x08: "card",
    0x09: "DIMM",
    0x0A: "chips",
    0x0B: "chips",
    0x0C: "RIMM",
    0x0D: "SO-DIMM",
    0x0E: "SRIMM",
    0x0F: "FB-DIMM",
    0x10: "chips",
    0x11: "CAMM",
}
"""Chip, TSOP, row of chips and die are all chips on the board. Other and unknown have no name."""

KINDS = {
    0x03: "DRAM",
    0x04: "EDRAM",
    0x05: "VRAM",
    0x06: "SRAM",
    0x07: "RAM",
    0x08: "ROM",
    0x09: "Flash",
    0x0A: "EEPROM",
    0x0B: "FEPROM",
    0x0C: "EPROM",
    0x0D: "CDRAM",
    0x0E: "3DRAM",
    0x0F: "SDRAM",
    0x10: "SGRAM",
    0x11: "RDRAM",
    0x12: "DDR",
    0x13: "DDR2",
    0x14: "DDR2",  # FB-DIMM: its form says so
    0x18: "DDR3",
    0x19: "FBD2",
    0x1A: "DDR4",
    0x1B: "LPDDR",
    0x1C: "LPDDR2",
    0x1D: "LPDDR3",
    0x1E: "LPDDR4",
    0x1F: "NVDIMM",
    0x20: "HBM",
    0x21: "HBM2",
    0x22: "DDR5",
    0x23: "LPDDR5",
    0x24: "HBM3",
}
"""DSP0134 7.18.2; reserved numbers, other and unknown have no name."""

LEAST_MTS = {"DDR2": 400, "DDR3": 800, "DDR4": 1600, "DDR5": 3200, "LPDDR3": 800, "LPDDR4": 1600, "LPDDR5": 3200}
"""Below which none of the kind was made. Firmware that says less writes the clock, of which two transfers are made."""

FB_DIMM_KIND = 0x14
REGISTERED, UNBUFFERED, LRDIMM = 1 << 13, 1 << 14, 1 << 15
"""Of the type detail. DSP0134 7.18.3."""


class MemoryArray(msgspec.Struct, frozen=True):
    """use: SYSTEM_MEMORY for what programs get.  correction: of CORRECTIONS.  capacity: bytes."""

    handle: int
    use: int
    correction: str
    capacity: int | None
    devices: int


class MemoryDevice(msgspec.Struct, frozen=True):
    """size: bytes, 0 for an empty slot, None where the firmware does not know.  total_width, data_width: bits; check
    bits are the difference.  rated_mts, configured_mts: megatransfers a second.  maker_id: JEDEC's, see jedec.py."""

    array: int
    slot: str
    bank: str
    size: int | None
    kind: str
    form: str
    total_width: int | None
    data_width: int | None
    rated_mts: int | None
    configured_mts: int | None
    maker: str
    maker_id: int | None
    part: str
    registered: bool | None
    ranks: int | None


class MemoryTable(msgspec.Struct, frozen=True):
    """mapped: bytes that the firmware gave addresses; 0 where it does not say."""

    arrays: tuple[MemoryArray, ...] = ()
    devices: tuple[MemoryDevice, ...] = ()
    mapped: int = 0


def parse_memory(structures: Iterable[Structure]) -> MemoryTable:
    arrays: list[MemoryArray] = []
    devices: list[MemoryDevice] = []
    mapped = 0
    for one in structures:
        if one.type == ARRAY and len(one.data) >= 0x0F and len(arrays) < MAX_SLOTS:
            arrays.append(_array(one))
        elif one.type == DEVICE and len(one.data) >= 0x15 and len(devices) < MAX_SLOTS:
            devices.append(_device(one))
        elif one.type == MAPPED:
            mapped += _range(one)
    return MemoryTable(tuple(arrays), in_transfers(devices), mapped if mapped <= MAX_ARRAY_BYTES else 0)


def _array(one: Structure) -> MemoryArray:
    capacity = one.dword(0x07) or 0
    size = one.qword(0x0F) if capacity == EXTENDED_CAPACITY else capacity * KIB
    return MemoryArray(
        handle=one.handle,
        use=one.byte(0x05) or 0,
        correction=CORRECTIONS.get(one.byte(0x06) or 0, ""),
        capacity=_within(size, 1, MAX_ARRAY_BYTES),
        devices=one.word(0x0D) or 0,
    )


def _device(one: Structure) -> MemoryDevice:
    number, detail = one.byte(0x12) or 0, one.word(0x13) or 0
    kind = KINDS.get(number, "")
    return MemoryDevice(
        array=one.word(0x04) or 0,
        slot=one.text(0x10),
        bank=one.text(0x11),
        size=_size(one),
        kind=kind,
        form="FB-DIMM" if number == FB_DIMM_KIND else credible_form(kind, FORMS.get(one.byte(0x0E) or 0, "")),
        total_width=_within(one.word(0x08), 1, MAX_WIDTH),
        data_width=_within(one.word(0x0A), 1, MAX_WIDTH),
        rated_mts=_speed(one, 0x15, 0x54),
        configured_mts=_speed(one, 0x20, 0x58),
        maker=one.text(0x17),
        maker_id=one.word(0x2C) or None,
        part=one.text(0x1A),
        registered=True if detail & (REGISTERED | LRDIMM) else False if detail & UNBUFFERED else None,
        ranks=(one.byte(0x1B) or 0) & 0x0F or None,
    )


def _size(one: Structure) -> int | None:
    size = one.word(0x0C)
    if size == UNKNOWN_WORD:
        return None
    if size == EXTENDED_WORD:
        extended = one.dword(0x1C)
        # A table that points to a field it does not have.
        return None if extended is None else _within((extended & 0x7FFFFFFF) * MIB, 1, MAX_MODULE_BYTES)
    size = size or 0
    return (size & ~IN_KIB) * KIB if size & IN_KIB else size * MIB


def _speed(one: Structure, at: int, extended_at: int) -> int | None:
    speed = one.word(at)
    if speed == UNKNOWN_WORD:
        speed = one.dword(extended_at)
    return _within(speed, MIN_MTS, MAX_MTS)


def in_transfers(devices: Iterable[MemoryDevice]) -> tuple[MemoryDevice, ...]:
    """The same with transfers where the firmware wrote clocks, into one of the two fields or both: if one value is too
    small for its kind, all of that field are clocks, also the 800 beside it, which could be either."""
    found = tuple(devices)
    rated = any(device.rated_mts and device.rated_mts < LEAST_MTS.get(device.kind, 0) for device in found)
    configured = any(
        device.configured_mts and device.configured_mts < LEAST_MTS.get(device.kind, 0) for device in found
    )
    return tuple(
        msgspec.structs.replace(
            device,
            rated_mts=_doubled(device, device.rated_mts, rated),
            configured_mts=_doubled(device, device.configured_mts, configured),
        )
        for device in found
    )


def _doubled(device: MemoryDevice, speed: int | None, clocks: bool) -> int | None:
    if speed is None or not clocks or device.kind not in LEAST_MTS:
        return speed
    return _within(speed * 2 - (speed * 2 % 10 == 4), MIN_MTS, MAX_MTS)  # 667 is 666.7, rounded: sold as 1333


def credible_form(kind: str, form: str) -> str:
    """A RIMM holds RDRAM and nothing else; some workstations' firmware says it of their DIMMs."""
    return "DIMM" if form == "RIMM" and "DDR" in kind else form


def _range(one: Structure) -> int:
    """Bytes of a mapped range; 0 for one that ends before it begins."""
    start, end = one.dword(0x04), one.dword(0x08)
    if start == EXTENDED_DWORD:
        first, last = one.qword(0x0F), one.qword(0x17)
        return max(0, last - first + 1) if first is not None and last is not None else 0
    return max(0, end - start + 1) * KIB if start is not None and end is not None else 0


N = TypeVar("N", bound=int)


def _within(value: N | None, least: int, most: int) -> N | None:
    return value if value is not None and least <= value <= most else None
