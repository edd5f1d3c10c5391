"""SMBIOS tables for tests: out of recorded dumps, and made from what dmidecode printed of machines elsewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from agent.facts.parsers.smbios import EntryPoint, parse_entry_point
from agent.facts.parsers.smbios_memory import FORMS, KINDS
from tests.support.daemons import find

UNITS = {"bytes": 1, "kB": 1 << 10, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
DMIDECODE_FORMS = {
    **{name: number for number, name in FORMS.items()},
    "Chip": 0x05,
    "TSOP": 0x0A,
    "Row Of Chips": 0x0B,
    "SODIMM": 0x0D,
    "Die": 0x10,
    "Proprietary Card": 0x08,
    "Other": 0x01,
}
DMIDECODE_KINDS = {
    **{name: number for number, name in KINDS.items()},
    "DDR2": 0x13,
    "DDR2 FB-DIMM": 0x14,
    "Logical non-volatile device": 0x1F,
    "Other": 0x01,
    "Reserved": 0x15,
}
CORRECTIONS = {"Other": 1, "None": 3, "Parity": 4, "Single-bit ECC": 5, "Multi-bit ECC": 6, "CRC": 7}
CASES = {"Desktop": 3, "Portable": 8, "Laptop": 9, "Notebook": 10, "Sub Notebook": 14, "Tablet": 30} | {
    "Convertible": 31,
    "Detachable": 32,
}


def entry_of(dump: bytes) -> EntryPoint:
    """The entry point that a dump begins with."""
    entry = parse_entry_point(dump)
    assert entry is not None
    return entry


def table_of(dump: bytes) -> bytes:
    """The table of a dump, by its entry point; of a Windows buffer or a bare table, that.

    In what dmidecode dumped, the address is the place in the file; in what was copied from memory, the table is what
    follows.
    """
    if not dump.startswith((b"_SM_", b"_SM3_", b"_DMI_")):
        return dump
    entry = entry_of(dump)
    start = entry.address if entry.address < len(dump) else len(dump) - entry.length
    return dump[start : start + entry.length]


def as_dump(table: bytes) -> bytes:
    """`table` behind a 64-bit entry point of version 3.6, as dmidecode reads it with --from-dump."""
    entry = bytearray(b"_SM3_\0\x18\x03\x06\x00\x01\x00")
    entry += len(table).to_bytes(4, "little") + (32).to_bytes(8, "little")
    entry[5] = -sum(entry) & 0xFF
    return bytes(entry.ljust(32, b"\0")) + table


def dmidecode(dump: Path, *types: str) -> str:
    """What the real dmidecode says of a dump."""
    program = find("dmidecode")
    assert program is not None, 'need("dmidecode") comes first'
    command = [program, "--from-dump", str(dump)]
    for kind in types:
        command += ["-t", kind]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout


def records(text: str) -> list[tuple[int, int, dict[str, str]]]:
    """(handle, type, fields) of dmidecode's text. A field that is a list keeps its first line."""
    found: list[tuple[int, int, dict[str, str]]] = []
    for block in re.split(r"\n\s*\n|(?=^Handle 0x)", text, flags=re.MULTILINE):
        head = re.match(r"\s*Handle (0x[0-9A-Fa-f]+)(?:, DMI type (\d+))?", block)
        if head is None:
            continue
        kind = head[2] or (re.search(r"DMI type (\d+)", block) or [None, "126"])[1]
        fields = re.findall(r"^(?:\t{1,2}|    +)([A-Z][^:\n]*?): ?(.*?)\s*$", block, flags=re.MULTILINE)
        found.append((int(head[1], 16), int(kind or 126), dict(reversed([(k, v) for k, v in fields]))))
    return found


def in_bytes(text: str) -> int | None:
    """ "8192 MB" and its like; None for anything else."""
    found = re.fullmatch(r"(\d+) (\w+)", text)
    return int(found[1]) * UNITS[found[2]] if found and found[2] in UNITS else None


def number(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


# -- from dmidecode's text back to a table ----------------------------------------------------------------------------


class Made:
    """One structure in the making."""

    def __init__(self, kind: int, handle: int, length: int) -> None:
        self.data = bytearray(length)
        self.data[0:4] = bytes([kind, length]) + handle.to_bytes(2, "little")
        self.strings: list[bytes] = []

    def put(self, at: int, value: int, size: int) -> None:
        self.data[at : at + size] = value.to_bytes(size, "little")

    def say(self, at: int, text: str | None) -> None:
        if text and text != "Not Specified" and text != "<BAD INDEX>":
            self.strings.append(text.encode())
            self.data[at] = len(self.strings)

    def bytes(self) -> bytes:
        return bytes(self.data) + b"".join(string + b"\0" for string in self.strings or [b""]) + b"\0"


def table_from_text(text: str) -> bytes:
    """A table with the structures 0, 1, 3, 4, 16 and 17 that `text`, dmidecode's, describes."""
    table = b""
    for handle, kind, fields in records(text):
        maker = MAKERS.get(kind)
        if maker is not None:
            table += maker(handle, fields).bytes()
    return table + Made(127, 0xFFFE, 4).bytes()


def _bios(handle: int, fields: dict[str, str]) -> Made:
    made = Made(0, handle, 0x18)
    made.say(0x04, fields.get("Vendor"))
    made.say(0x05, fields.get("Version"))
    return made


def _system(handle: int, fields: dict[str, str]) -> Made:
    made = Made(1, handle, 0x1B)
    for at, name in ((4, "Manufacturer"), (5, "Product Name"), (6, "Version")):
        made.say(at, fields.get(name))
    return made


def _chassis(handle: int, fields: dict[str, str]) -> Made:
    made = Made(3, handle, 0x16)
    made.put(5, CASES.get(fields.get("Type", ""), 2), 1)
    return made


def _processor(handle: int, fields: dict[str, str]) -> Made:
    made = Made(4, handle, 0x30)
    made.put(5, 3 if fields.get("Type") == "Central Processor" else 1, 1)
    made.put(0x18, 0x41 if fields.get("Status", "").startswith("Populated") else 0, 1)
    return made


def _array(handle: int, fields: dict[str, str]) -> Made:
    made = Made(16, handle, 0x17)
    made.put(5, {"System Memory": 3, "Flash Memory": 5, "Video Memory": 4}.get(fields.get("Use", ""), 2), 1)
    made.put(6, CORRECTIONS.get(fields.get("Error Correction Type", ""), 2), 1)
    made.put(7, 0x80000000, 4)
    made.put(0x0F, in_bytes(fields.get("Maximum Capacity", "")) or 0, 8)
    made.put(0x0D, number(fields.get("Number Of Devices", "")), 2)
    return made


def _device(handle: int, fields: dict[str, str]) -> Made:
    made = Made(17, handle, 0x5C)
    made.put(4, int(fields.get("Array Handle", "0xFFFF"), 16), 2)
    for at, name in ((0x08, "Total Width"), (0x0A, "Data Width")):
        made.put(at, number(fields.get(name, "")) or 0xFFFF, 2)
    size = in_bytes(fields.get("Size", ""))
    if size is None:
        made.put(0x0C, 0 if fields.get("Size", "").startswith("No Module") else 0xFFFF, 2)
    elif size % (1 << 20):
        made.put(0x0C, 0x8000 | size >> 10, 2)
    else:
        made.put(0x0C, 0x7FFF, 2)
        made.put(0x1C, size >> 20, 4)
    made.put(0x0E, DMIDECODE_FORMS.get(fields.get("Form Factor", ""), 2), 1)
    made.put(0x12, DMIDECODE_KINDS.get(fields.get("Type", ""), 2), 1)
    detail = fields.get("Type Detail", "")
    bits = {"Registered": 13, "Unbuffered": 14, "LRDIMM": 15}
    made.put(0x13, sum(1 << bit for word, bit in bits.items() if word in detail), 2)
    made.put(0x15, number(fields.get("Speed", "")), 2)
    made.put(0x20, number(fields.get("Configured Memory Speed", fields.get("Configured Clock Speed", ""))), 2)
    made.put(0x1B, number(fields.get("Rank", "")) & 0x0F, 1)
    bank = re.fullmatch(r"Bank (\d+), Hex 0x([0-9A-F]{2})", fields.get("Module Manufacturer ID", ""))
    made.put(0x2C, int(bank[2], 16) << 8 | int(bank[1]) - 1 if bank else 0, 2)
    for at, name in ((0x10, "Locator"), (0x11, "Bank Locator"), (0x17, "Manufacturer"), (0x1A, "Part Number")):
        made.say(at, fields.get(name))
    return made


MAKERS = {0: _bios, 1: _system, 3: _chassis, 4: _processor, 16: _array, 17: _device}
