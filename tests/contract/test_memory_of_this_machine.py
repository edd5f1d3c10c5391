"""What we say of this machine's memory, and what free(1), the kernel and dmidecode(8) say of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.facts.collect import Facts, collectors
from agent.facts.parsers.memory_live import Pressure, parse_pressure
from agent.facts.source import Missing
from agent.facts.sources import memory as live
from agent.platform import windows_firmware
from protocol.sections.catalogue import decode_section
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemoryErrors
from protocol.system_clock import SystemClock
from tests.support.daemons import find, need
from tests.support.samples import sample
from tests.support.smbios import records, table_of

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's tools")

MIB = 1 << 20


def collected() -> Memory:
    clock = SystemClock()
    [section] = asyncio.run(Facts(collectors("1.0"), clock).collect(["memory"], clock.now()))
    memory = decode_section("memory", section.data)
    assert isinstance(memory, Memory)
    return memory


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the firmware's tables are, empty; nothing is kept from another test, or for one."""
    monkeypatch.setattr(live, "TABLES", tmp_path)
    monkeypatch.setattr(live, "_says_virtual", lambda: False)
    live.BOARD_ONCE.forget()
    yield tmp_path
    live.BOARD_ONCE.forget()


def refuse(path: Path) -> bytes:
    raise PermissionError(13, "Permission denied", str(path))


def test_free_says_the_same_in_bytes() -> None:
    need("free")
    memory = collected()
    lines = subprocess.run(["free", "-b"], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout
    said = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in lines.splitlines()[1:]}
    assert memory.total == said["Mem:"][0] and memory.swap_total == said["Swap:"][0]
    assert memory.available is not None
    assert abs(memory.available - said["Mem:"][5]) < said["Mem:"][5] / 8 + 512 * MIB


def test_dmidecode_counts_the_same_modules_in_this_machine() -> None:
    need("dmidecode")
    if os.geteuid() != 0 or not (live.TABLES / "DMI").exists():
        pytest.skip("this machine's firmware tables are not to be had")
    program = find("dmidecode")
    assert program is not None
    done = subprocess.run([program, "-t", "17"], capture_output=True, text=True, errors="replace", check=True)
    sizes = [fields["Size"] for _, kind, fields in records(done.stdout) if kind == 17]
    memory = collected()
    assert sum(slot.filled for slot in memory.slots) == sum(not size.startswith("No Module") for size in sizes)


def test_pressure_is_what_the_kernel_says_or_why_it_says_nothing() -> None:
    memory = collected()
    if memory.stalled_percent is None:
        assert "memory_pressure" in memory.unavailable
        return
    said = parse_pressure(Path("/proc/pressure/memory").read_text())
    assert said.some is not None and abs(said.some - memory.stalled_percent) <= 20


@pytest.mark.parametrize(
    ("text", "pressure"),
    [
        (
            "some avg10=1.00 avg60=0.50 avg300=12.34 total=99\nfull avg10=0.00 avg60=0.00 avg300=4.00 total=1\n",
            Pressure(some=12.34, full=4.0),
        ),
        ("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", Pressure(some=0.0)),
        ("some avg10=0.00 avg60=0.00 avg300=999.00 total=0\n", Pressure()),
        ("some avg10=x avg60=y avg300=z total=0\nfull", Pressure()),
        ("", Pressure()),
    ],
)
def test_pressure_is_read_and_never_above_all_of_the_time(text: str, pressure: Pressure) -> None:
    assert parse_pressure(text) == pressure


def test_the_table_of_a_running_linux_is_read_once_a_boot(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(sample("smbios", "lenovo-thinkpad-x230-dump.bin"))
    (tables / "DMI").write_bytes(table)
    (tables / "smbios_entry_point").write_bytes(sample("smbios", "lenovo-thinkpad-x230-entry.bin"))
    parsed: list[int] = []
    parse = live.parse_structures

    def counted(table: bytes) -> object:
        parsed.append(len(table))
        return parse(table)

    monkeypatch.setattr(live, "parse_structures", counted)
    first, second = collected(), collected()
    assert first.slots == second.slots and len(first.slots) == 2 and parsed == [len(table)]
    assert first.board == "slots" and first.portable and first.capacity == 16 << 30
    assert [slot.kind for slot in first.slots] == ["DDR3", "DDR3"] and first.slots_free == 0


def test_a_table_that_is_for_root_alone_is_said_to_be(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "read_bytes", refuse)
    monkeypatch.setattr(live, "UDEV_DMI", tables / "none")
    memory = collected()
    assert "as root" in memory.unavailable["memory_slots"] and memory.slots == () and memory.slots_free is None
    assert memory.total, "the rest is there all the same"


def test_who_is_not_root_sees_what_udev_left_to_be_seen(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "read_bytes", refuse)
    monkeypatch.setattr(live, "UDEV_DMI", tables / "udev")
    monkeypatch.setattr(live, "DMI", tables)
    (tables / "chassis_type").write_text("10\n")
    (tables / "udev").write_text(
        "I:1\nE:MEMORY_ARRAY_MAX_CAPACITY=17179869184\nE:MEMORY_DEVICE_0_SIZE=8589934592\n"
        "E:MEMORY_DEVICE_0_TYPE=DDR4\nE:MEMORY_DEVICE_0_FORM_FACTOR=SODIMM\nE:MEMORY_DEVICE_1_PRESENT=0\n"
    )
    memory = collected()
    assert memory.portable and memory.slots_free == 1 and memory.capacity == 16 << 30
    assert "memory_slots" not in memory.unavailable


def test_what_failed_is_asked_again(tables: Path) -> None:
    with pytest.raises(Missing):
        live.BOARD.ask()
    (tables / "DMI").write_bytes(table_of(sample("smbios", "beelink-eq12-ddr5-dump.bin")))
    (tables / "smbios_entry_point").write_bytes(b"")
    assert live.BOARD.ask().slots


def test_a_board_without_smbios_and_with_a_device_tree_has_its_memory_soldered(
    tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tables / "model").write_text("Raspberry Pi 4 Model B Rev 1.4\0")
    monkeypatch.setattr(live, "DEVICE_TREE", tables)
    monkeypatch.setattr(live, "FIXED_ARCHITECTURES", (os.uname().machine,))
    assert live.BOARD.ask().board == "soldered"
    live.BOARD_ONCE.forget()
    monkeypatch.setattr(live, "FIXED_ARCHITECTURES", ("another",))
    with pytest.raises(Missing, match="device tree"):
        live.BOARD.ask()


def test_errors_are_told_by_slot_where_the_controller_can_place_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = tmp_path / "mc0"
    for name, label, corrected, uncorrected in (("dimm0", "CPU_SrcID#0_DIMM#0\n", 7, 1), ("dimm1", "\n", 0, 0)):
        folder = controller / name
        folder.mkdir(parents=True)
        (folder / "dimm_label").write_text(label)
        (folder / "dimm_ce_count").write_text(f"{corrected}\n")
        (folder / "dimm_ue_count").write_text(f"{uncorrected}\n")
    (controller / "ce_count").write_text("9\n")
    (controller / "ue_count").write_text("1\n")
    monkeypatch.setattr(live, "EDAC", tmp_path)
    assert live.ERRORS.ask() == (
        MemoryErrors(slot="CPU_SrcID#0_DIMM#0", corrected=7, uncorrected=1),
        MemoryErrors(corrected=2),
    )
    monkeypatch.setattr(live, "EDAC", tmp_path / "nothing")
    assert live.ERRORS.ask() is None


class Kernel32:
    """GetSystemFirmwareTable as Windows documents it."""

    def __init__(self, answer: bytes, *, grows: int = 0) -> None:
        self.answer, self.grows = answer, grows
        self.asked: list[tuple[int, int]] = []

    @property
    def GetSystemFirmwareTable(self) -> object:
        kernel = self

        class Ask:
            def __call__(self, provider: int, table: int, buffer: object, size: int) -> int:
                kernel.asked.append((provider, size))
                needed = len(kernel.answer) + (kernel.grows if size else 0)
                if buffer is not None and size >= needed:
                    buffer[: len(kernel.answer)] = kernel.answer  # type: ignore[index]  # a ctypes buffer
                return needed

        return Ask()


def test_on_windows_the_table_is_asked_for_its_size_and_then_for_itself() -> None:
    data = sample("smbios", "windows-rawsmbios-3.2.bin")
    kernel = Kernel32(data)
    assert windows_firmware.raw_smbios(kernel) == data
    assert kernel.asked == [(0x52534D42, 0), (0x52534D42, len(data))]


@pytest.mark.parametrize("kernel", [Kernel32(b""), Kernel32(b"x" * 20, grows=1), Kernel32(b"x" * (2 << 20))])
def test_on_windows_a_table_that_is_refused_or_grows_meanwhile_is_an_error(kernel: Kernel32) -> None:
    with pytest.raises(OSError, match="bytes"):
        windows_firmware.raw_smbios(kernel)
