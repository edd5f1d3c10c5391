"""SMBIOS structures 0 to 4: the firmware, the machine, its board, its case, its processors. DSP0134 7.1 to 7.5."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from agent.facts.parsers.firmware import Firmware, hypervisor_name, read_firmware
from agent.facts.parsers.smbios import Structure

BIOS, SYSTEM, BOARD, CHASSIS, PROCESSOR = range(5)

PORTABLE_CASES = frozenset({8, 9, 10, 11, 14, 30, 31, 32})
"""Portable, laptop, notebook, hand held, sub notebook, tablet, convertible, detachable. DSP0134 table 17."""

CENTRAL_PROCESSOR = 3
SOCKET_POPULATED = 0x40
VIRTUAL_MACHINE = 0x10
"""Bit 4 of the second extension byte of the firmware's characteristics. DSP0134 7.1.2.2."""


class Hardware(msgspec.Struct, frozen=True):
    """firmware: of the machine, its maker and model.  bios: the maker of its firmware, and the version.

    board: maker and product of the main board.  portable: by the case.  virtual: the hypervisor as
    systemd-detect-virt(1) names it, "unknown" where the firmware says no more, "" where nothing speaks of one.
    sockets: of processors.  empty_sockets: those of them without one.
    """

    firmware: Firmware = Firmware()
    bios: Firmware = Firmware()
    board: Firmware = Firmware()
    portable: bool = False
    virtual: str = ""
    sockets: int = 0
    empty_sockets: int = 0


def parse_hardware(structures: Iterable[Structure]) -> Hardware:
    """Of several structures of a kind the first counts (but every processor's): the others are of expansion boxes."""
    first: dict[int, Structure] = {}
    processors: list[Structure] = []
    for one in structures:
        first.setdefault(one.type, one)
        if one.type == PROCESSOR and one.byte(0x05) == CENTRAL_PROCESSOR:
            processors.append(one)
    nothing = Structure(127, 0, b"")
    bios, system, board, chassis = (first.get(kind, nothing) for kind in (BIOS, SYSTEM, BOARD, CHASSIS))
    firmware = read_firmware(system.text(0x04), system.text(0x05), system.text(0x06))
    bios_firmware = Firmware(bios.text(0x04), bios.text(0x05))
    empty = sum(not (one.byte(0x18) or 0) & SOCKET_POPULATED for one in processors if one.byte(0x18) is not None)
    return Hardware(
        firmware=firmware,
        bios=bios_firmware,
        board=Firmware(board.text(0x04), board.text(0x05)),
        portable=((chassis.byte(0x05) or 0) & 0x7F) in PORTABLE_CASES,
        virtual=virtual_by_name(firmware, bios_firmware, flagged=bool((bios.byte(0x13) or 0) & VIRTUAL_MACHINE)),
        sockets=len(processors),
        empty_sockets=empty if empty < len(processors) else 0,  # a table in which no processor is fitted is wrong
    )


def virtual_by_name(firmware: Firmware, bios: Firmware, *, flagged: bool) -> str:
    """The hypervisor, by what machine and firmware are called. flagged: something says that there is one."""
    by_name = hypervisor_name(firmware, by_processor=flagged) or hypervisor_name(bios, by_processor=flagged)
    if by_name and by_name != "unknown":
        return by_name
    # Xen's guests and cloud machines, whose names alone are also those of real machines.
    named = f"{firmware.vendor} {firmware.model}".lower()
    if named.startswith("xen ") or "hvm domu" in named or "virtual machine" in named or "virtual platform" in named:
        return "xen" if "xen" in named or "domu" in named else "unknown"
    return by_name
