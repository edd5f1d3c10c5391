"""SMBIOS: what firmware writes down of the machine. The entry points and the walk along the table's structures.

Source: DMTF DSP0134 3.8. A table is a row of structures and ends with one of type 127:

    byte type, byte length, word handle, ... up to length, then its strings, each ended by a zero, then one more zero

All numbers are little-endian. A field that a structure is too short for is one that its version did not have. Firmware
has every fault that can be had, so nothing that a table says of itself is believed: neither its count of structures
nor its length.
"""

from __future__ import annotations

import msgspec

from agent.facts.parsers.firmware import filled

MAX_TABLE_BYTES = 1024 * 1024
"""The largest that we have seen has 17 KiB; a server with a thousand modules would have 150."""

MAX_STRUCTURES = 8192
MAX_STRING_CHARS = 64
"""What DSP0134 asks of firmware not to exceed."""

MAX_STRING_BYTES = 4 * MAX_STRING_CHARS
HEADER_BYTES = 4
END_OF_TABLE = 127

WINDOWS_HEADER_BYTES = 8
"""RawSMBIOSData: byte, byte major, byte minor, byte revision, dword length."""

_WRONG_VERSIONS = {(2, 31): (2, 3), (2, 33): (2, 3), (2, 51): (2, 6)}
"""As dmidecode knows them: written by firmware that took the number for a decimal one."""


class EntryPoint(msgspec.Struct, frozen=True):
    """Where the table lies. version: (major, minor).  address: in memory; a dump's file has it elsewhere.

    length: bytes; of a 64-bit entry point the most that it can be.  count: of structures, 0 where it is not said.
    """

    version: tuple[int, int]
    address: int
    length: int
    count: int = 0


class Structure(msgspec.Struct, frozen=True):
    """data: with its header.  strings: as bytes, numbered from 1."""

    type: int
    handle: int
    data: bytes
    strings: tuple[bytes, ...] = ()

    def byte(self, at: int) -> int | None:
        """None where the structure ends before it."""
        return self.data[at] if at < len(self.data) else None

    def word(self, at: int) -> int | None:
        return self._number(at, 2)

    def dword(self, at: int) -> int | None:
        return self._number(at, 4)

    def qword(self, at: int) -> int | None:
        return self._number(at, 8)

    def text(self, at: int) -> str:
        """The string whose number is at `at`, for people; "" where there is none, and for what makers left blank."""
        number = self.byte(at)
        if not number or number > len(self.strings):
            return ""
        decoded = self.strings[number - 1][:MAX_STRING_BYTES].decode("utf-8", "replace")
        shown = "".join(char if char.isprintable() else " " for char in decoded)
        return filled(shown.replace("\ufffd", " "))[:MAX_STRING_CHARS]

    def _number(self, at: int, size: int) -> int | None:
        return int.from_bytes(self.data[at : at + size], "little") if at + size <= len(self.data) else None


def parse_entry_point(data: bytes) -> EntryPoint | None:
    """`data` begins with an anchor: `_SM3_` (64 bits), `_SM_` (32 bits) or `_DMI_` (before 2.1). None for anything
    else, and where a checksum is wrong: then it is no entry point but bytes that look like one."""
    if data.startswith(b"_SM3_") and len(data) >= 24:
        if not 24 <= data[6] <= len(data) or _sum(data[: data[6]]):
            return None
        return EntryPoint(
            version=(data[7], data[8]),
            length=int.from_bytes(data[12:16], "little"),
            address=int.from_bytes(data[16:24], "little"),
        )
    if data.startswith(b"_SM_") and len(data) >= 31:
        # Some say 30, by an error in version 2.1 of the specification.
        if not 30 <= data[5] <= 32 or _sum(data[: max(31, data[5])]) or data[16:21] != b"_DMI_":
            return None
        version = (data[6], data[7])
        return _legacy(data[16:31], _WRONG_VERSIONS.get(version, version))
    if data.startswith(b"_DMI_") and len(data) >= 15:
        return _legacy(data[:15], (data[14] >> 4, data[14] & 0x0F))
    return None


def _legacy(data: bytes, version: tuple[int, int]) -> EntryPoint | None:
    if _sum(data):
        return None
    return EntryPoint(
        version=version,
        length=int.from_bytes(data[6:8], "little"),
        address=int.from_bytes(data[8:12], "little"),
        count=int.from_bytes(data[12:14], "little"),
    )


def _sum(data: bytes) -> int:
    return sum(data) & 0xFF


def windows_table(data: bytes) -> bytes:
    """The table in what GetSystemFirmwareTable gives for "RSMB"; as much of it as is there."""
    length = int.from_bytes(data[4:8], "little")
    return data[WINDOWS_HEADER_BYTES : WINDOWS_HEADER_BYTES + length]


def parse_structures(table: bytes) -> tuple[Structure, ...]:
    """The table's structures, as far as they can be told apart; the end of the table is not among them.

    The walk stops at the first structure that has no room for its own header or goes beyond the table: behind it
    nothing is certain. One that lacks the end of its strings is still taken.
    """
    found: list[Structure] = []
    at, table = 0, table[:MAX_TABLE_BYTES]
    while at + HEADER_BYTES <= len(table) and len(found) < MAX_STRUCTURES:
        kind, length = table[at], table[at + 1]
        if kind == END_OF_TABLE or length < HEADER_BYTES or at + length > len(table):
            break
        end = table.find(b"\0\0", at + length)
        end = len(table) if end < 0 else end
        found.append(
            Structure(
                type=kind,
                handle=int.from_bytes(table[at + 2 : at + 4], "little"),
                data=table[at : at + length],
                strings=tuple(table[at + length : end].split(b"\0")) if end > at + length else (),
            )
        )
        at = end + 2
    return tuple(found)
