"""Sources on memory beyond its amount: what sits in the slots, pressure, and errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from agent.facts.parsers.firmware import Firmware, read_firmware
from agent.facts.parsers.kernel import parse_cpuinfo
from agent.facts.parsers.memory_board import MemoryBoard, board_of_table
from agent.facts.parsers.memory_live import Pressure, parse_pressure
from agent.facts.parsers.smbios import parse_entry_point, parse_structures, windows_table
from agent.facts.parsers.smbios_machine import PORTABLE_CASES, virtual_by_name
from agent.facts.source import LINUX, Missing, Source, fit_text
from agent.facts.sources.command import run
from agent.facts.sources.files import read_bytes, read_line, read_number, read_text
from agent.facts.sources.machine import DMI
from protocol.sections.memory_slots import SOLDERED, MemoryErrors

TABLES = Path("/sys/firmware/dmi/tables")
UDEV_DMI = Path("/run/udev/data/+dmi:id")
DEVICE_TREE = Path("/proc/device-tree")
PRESSURE_FILE = Path("/proc/pressure/memory")
EDAC = Path("/sys/devices/system/edac/mc")
PROFILER_DEADLINE_S = 15.0
"""It starts a helper for each kind of data; cold it takes two seconds, on a busy machine several times that."""

MAX_PROFILE_BYTES = 1024 * 1024
MAX_CONTROLLERS = 32
MAX_RANKS = 256

FIXED_ARCHITECTURES = ("aarch64", "armv", "riscv", "mips")
"""Machines with a device tree and no SMBIOS: small boards, whose memory is chips. A POWER server has slots."""


class OnceABoot:
    """Asks once, and keeps the answer for as long as this process lives, which no boot survives. A failure is not
    kept: the tables may be readable when the agent runs as somebody else, or a slow program faster next time."""

    def __init__(self, ask: Callable[[], MemoryBoard]) -> None:
        self._ask = ask
        self._kept: MemoryBoard | None = None

    def __call__(self) -> MemoryBoard:
        if self._kept is None:
            self._kept = self._ask()
        return self._kept

    def forget(self) -> None:
        self._kept = None


def _board_linux() -> MemoryBoard:
    try:
        table = read_bytes(TABLES / "DMI")
    except FileNotFoundError:
        return _board_of_tree()
    except PermissionError:
        return _board_of_udev()
    entry = parse_entry_point(read_bytes(TABLES / "smbios_entry_point"))
    if entry is not None and entry.length:
        table = table[: entry.length]
    return _told(board_of_table(parse_structures(table), by_processor=_says_virtual()))


def _board_of_udev() -> MemoryBoard:
    """What systemd's udev read of the table at the start, as root, and left for everybody to see."""
    from agent.facts.parsers.udev_memory import parse_udev_memory

    try:
        text = read_text(UDEV_DMI)
    except OSError:
        text = ""
    names = ("sys_vendor", "product_name", "product_version", "bios_vendor", "chassis_type")
    maker, product, version, bios, case = (read_line(DMI / name) for name in names)
    virtual = virtual_by_name(read_firmware(maker, product, version), Firmware(bios), flagged=_says_virtual())
    board = parse_udev_memory(text, virtual=bool(virtual), portable=case.isdigit() and int(case) in PORTABLE_CASES)
    if board is None:
        raise Missing("the firmware's tables are for root alone: run this as root to see the memory slots")
    return board


def _says_virtual() -> bool:
    try:
        return parse_cpuinfo(read_text("/proc/cpuinfo")).hypervisor
    except OSError:
        return False


def _board_of_tree() -> MemoryBoard:
    if not (DEVICE_TREE / "model").exists():
        raise Missing("this machine has neither SMBIOS tables nor a device tree")
    if not os.uname().machine.startswith(FIXED_ARCHITECTURES):
        raise Missing("this machine's device tree does not tell of memory slots")
    return MemoryBoard(board=SOLDERED)


def _board_windows() -> MemoryBoard:
    from agent.platform.windows_firmware import raw_smbios

    return _told(board_of_table(parse_structures(windows_table(raw_smbios()))))


def _board_macos() -> MemoryBoard:
    from agent.facts.parsers.system_profiler import parse_memory_json, parse_memory_text

    board = parse_memory_json(_profile("-json"))  # macOS 10.15 and later
    if board is None:
        board = parse_memory_text(_profile().decode("utf-8", "replace"))
    return _told(board)


def _profile(*options: str) -> bytes:
    words = (*options, "SPMemoryDataType")
    return run("system_profiler", *words, deadline_s=PROFILER_DEADLINE_S / 2, limit=MAX_PROFILE_BYTES).output


def _told(board: MemoryBoard | None) -> MemoryBoard:
    if board is None:
        raise Missing("the firmware says nothing of the memory slots")
    return board


def _pressure() -> Pressure:
    pressure = parse_pressure(read_text(PRESSURE_FILE))
    if pressure.some is None:
        raise Missing("the kernel does not measure pressure")
    return pressure


def _errors() -> tuple[MemoryErrors, ...] | None:
    """By the controllers that the kernel has a driver for; None where there is none, as on most machines."""
    if not EDAC.exists():
        return None
    names = [name for name in os.listdir(EDAC) if name.startswith("mc") and name[2:].isdigit()]
    if not names:
        return None
    found: list[MemoryErrors] = []
    for name in sorted(names)[:MAX_CONTROLLERS]:
        found += _of_controller(EDAC / name)
    return tuple(errors for errors in found if errors.corrected or errors.uncorrected)


def _of_controller(folder: Path) -> list[MemoryErrors]:
    """By module where the driver can tell, and what it cannot place under no slot. Source: Linux,
    Documentation/ABI/testing/sysfs-devices-edac."""
    placed: list[MemoryErrors] = []
    for name in sorted(os.listdir(folder))[:MAX_RANKS]:
        if name.startswith(("dimm", "rank")) and name[4:].isdigit():
            placed.append(
                MemoryErrors(
                    slot=fit_text(read_line(folder / name / "dimm_label") or f"{folder.name} {name}", 64),
                    corrected=read_number(folder / name / "dimm_ce_count") or 0,
                    uncorrected=read_number(folder / name / "dimm_ue_count") or 0,
                )
            )
    corrected = (read_number(folder / "ce_count") or 0) - sum(errors.corrected for errors in placed)
    uncorrected = (read_number(folder / "ue_count") or 0) - sum(errors.uncorrected for errors in placed)
    return [*placed, MemoryErrors(corrected=max(0, corrected), uncorrected=max(0, uncorrected))]


_HOW = {"win32": _board_windows, "darwin": _board_macos}

BOARD_ONCE = OnceABoot(_HOW.get(sys.platform, _board_linux))
BOARD = Source(
    name="memory_slots",
    ask=BOARD_ONCE,
    platforms=frozenset({"linux", "win32", "darwin"}),
    deadline_s=PROFILER_DEADLINE_S + 1,
)
PRESSURE = Source(name="memory_pressure", ask=_pressure, platforms=LINUX)
ERRORS = Source(name="memory_errors", ask=_errors, platforms=LINUX)
