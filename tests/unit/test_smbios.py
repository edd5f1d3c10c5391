"""SMBIOS tables: every recorded one against the real dmidecode, and what is made of broken ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.memory_board import board_of_table
from agent.facts.parsers.smbios import (
    MAX_STRING_CHARS,
    EntryPoint,
    Structure,
    parse_entry_point,
    parse_structures,
    windows_table,
)
from agent.facts.parsers.smbios_machine import parse_hardware
from agent.facts.parsers.smbios_memory import (
    CORRECTIONS,
    MAX_ARRAY_BYTES,
    MAX_MODULE_BYTES,
    MAX_MTS,
    MAX_WIDTH,
    MemoryDevice,
    parse_memory,
)
from tests.support.daemons import need
from tests.support.samples import sample, samples
from tests.support.smbios import (
    DMIDECODE_FORMS,
    DMIDECODE_KINDS,
    as_dump,
    dmidecode,
    entry_of,
    in_bytes,
    number,
    records,
    table_of,
)

GIB = 1 << 30

DUMPS: dict[str, tuple[int, int, int]] = {
    "asrock-ryzen-table.bin": (2, 4, 128),
    "beelink-eq12-ddr5-dump.bin": (1, 2, 64),
    "dell-latitude-d500-memdump.bin": (2, 2, 2),
    "dell-optiplex-gx110-memdump.bin": (1, 2, 0),
    "dell-poweredge-1300-memdump.bin": (2, 4, 1),
    "dell-poweredge-14g-dump.bin": (8, 24, 7680),
    "dell-poweredge-1800-dump.bin": (2, 6, 12),
    "dell-poweredge-400sc-memdump.bin": (2, 4, 4),
    "dell-poweredge-6450-memdump.bin": (4, 16, 8),
    "dell-poweredge-8450-two-arrays-memdump.bin": (2, 32, 32),
    "dell-precision-390-memdump.bin": (2, 4, 8),
    "dell-precision-490-dump.bin": (2, 8, 32),
    "hp-proliant-dl385-g1-6-of-8-dump.bin": (6, 8, 32),
    "hp-proliant-dl385-g1-8-of-8-dump.bin": (8, 8, 32),
    "hp-proliant-dl580-g5-dump.bin": (12, 32, 256),
    "hp-proliant-dl585-g1-dump.bin": (10, 32, 128),
    "hyper-v-generation1-table.bin": (0, 0, 0),
    "lenovo-thinkpad-t61p-dump.bin": (2, 2, 4),
    "lenovo-thinkpad-x230-dump.bin": (2, 2, 16),
    "lenovo-thinkpad-x230-table.bin": (2, 2, 16),
    "parallels-vm-dump.bin": (1, 4, 4),
    "supermicro-1027r-16-of-16-table.bin": (16, 16, 256),
    "supermicro-super-server-table.bin": (1, 8, 512),
    "toshiba-satellite-pro-l70-dump.bin": (2, 4, 32),
    "unisys-es3020-memdump.bin": (2, 6, 12),
    "unisys-es3040-16-of-16-memdump.bin": (16, 16, 32),
    "vmware-vm-dump.bin": (1, 4, 4),
    "windows-rawsmbios-3.2.bin": (2, 2, 64),
}
"""Every recorded table: filled, all slots, and the capacity of its arrays in whole GiB."""

ENTRIES = {
    "lenovo-thinkpad-x230-entry.bin": EntryPoint((2, 7), 0xDAA9D000, 2736, 69),
    "supermicro-super-server-entry.bin": EntryPoint((3, 0), 0xED9B0, 7483),
}
"""Recorded entry points without their table."""

NOT_ASKED = {"systab-smbios2.txt"}
"""Where EFI says that the entry point lies in memory; the kernel gives us its content."""


def bare(name: str) -> bytes:
    data = sample("smbios", name)
    return windows_table(data) if name.startswith("windows") else table_of(data)


def test_every_recorded_table_has_its_case() -> None:
    found = {path.name for path in samples("smbios")}
    if not found:
        pytest.skip("no samples here")
    assert found == {*DUMPS, *ENTRIES, *NOT_ASKED}


@pytest.mark.parametrize(("name", "expected"), DUMPS.items(), ids=DUMPS)
def test_a_recorded_table_is_read(name: str, expected: tuple[int, int, int]) -> None:
    memory = parse_memory(parse_structures(bare(name)))
    filled = sum(device.size != 0 for device in memory.devices)
    capacity = sum(array.capacity or 0 for array in memory.arrays)
    assert (filled, len(memory.devices), capacity // GIB) == expected


@pytest.mark.parametrize("name", sorted(set(DUMPS) - {"hyper-v-generation1-table.bin"}))
def test_the_real_dmidecode_says_the_same_of_each_array_and_module(name: str, tmp_path: Path) -> None:
    need("dmidecode")
    table = bare(name)
    dump = tmp_path / "dump.bin"
    dump.write_bytes(as_dump(table))
    said = records(dmidecode(dump))
    memory = parse_memory(parse_structures(table))
    arrays = [fields for _, kind, fields in said if kind == 16]
    assert len(arrays) == len(memory.arrays)
    for array, fields in zip(memory.arrays, arrays, strict=True):
        assert array.capacity == in_bytes(fields["Maximum Capacity"])
        assert array.devices == number(fields["Number Of Devices"])
        assert array.correction.lower() in ("", fields["Error Correction Type"].lower())
    devices = [fields for _, kind, fields in said if kind == 17]
    assert len(devices) == len(memory.devices)
    for device, fields in zip(memory.devices, devices, strict=True):
        assert_same(device, fields)


def assert_same(device: MemoryDevice, fields: dict[str, str]) -> None:
    """What we and dmidecode say of one slot."""
    size = 0 if fields["Size"] == "No Module Installed" else in_bytes(fields["Size"])
    assert device.size == size
    assert device.total_width == (number(fields["Total Width"]) or None)
    assert device.data_width == (number(fields["Data Width"]) or None)
    assert device.array == int(fields["Array Handle"], 16)
    kind = DMIDECODE_KINDS.get(fields["Type"], 0)
    assert DMIDECODE_KINDS.get(device.kind, 1) == kind or (device.kind == "" and kind in (0, 1)) or kind == 0x14
    form = DMIDECODE_FORMS.get(fields["Form Factor"], 0)
    assert device.form == "" or DMIDECODE_FORMS[device.form] == form or "FB-DIMM" in (device.form, fields["Type"])
    for ours, theirs in ((device.slot, "Locator"), (device.part, "Part Number"), (device.maker, "Manufacturer")):
        if theirs in fields:  # dmidecode says no more of an empty slot
            assert ours in ("", " ".join(fields[theirs].split())[:MAX_STRING_CHARS])
    if "Speed" in fields:
        assert device.rated_mts in (number(fields["Speed"]) or None, 2 * number(fields["Speed"]))
    configured = fields.get("Configured Memory Speed", fields.get("Configured Clock Speed"))
    if configured is not None:
        assert device.configured_mts == (number(configured) or None)
    assert device.ranks == (number(fields.get("Rank", "")) or None)


@pytest.mark.parametrize("name", sorted(set(DUMPS) - {"hyper-v-generation1-table.bin"}))
def test_the_real_dmidecode_says_the_same_of_the_machine(name: str, tmp_path: Path) -> None:
    need("dmidecode")
    table = bare(name)
    dump = tmp_path / "dump.bin"
    dump.write_bytes(as_dump(table))
    said = records(dmidecode(dump))
    first = {kind: fields for _, kind, fields in reversed(said)}
    hardware = parse_hardware(parse_structures(table))
    assert hardware.firmware.vendor in ("", first[1]["Manufacturer"].strip())
    model = hardware.firmware.model
    assert model == "" or " ".join(first[1]["Product Name"].split()) in model
    assert hardware.bios.vendor in ("", " ".join(first[0]["Vendor"].split()))
    portable = first[3]["Type"] in ("Portable", "Laptop", "Notebook", "Sub Notebook", "Tablet", "Convertible")
    assert hardware.portable == portable
    central = [f for _, kind, f in said if kind == 4 and f["Type"] == "Central Processor"]
    assert hardware.sockets == len(central)
    empty = sum(not fields["Status"].startswith("Populated") for fields in central)
    assert hardware.empty_sockets == (empty if empty < len(central) else 0)


def test_a_dump_its_table_and_its_entry_point_are_one_machine() -> None:
    dump, table = bare("lenovo-thinkpad-x230-dump.bin"), bare("lenovo-thinkpad-x230-table.bin")
    assert parse_memory(parse_structures(dump)) == parse_memory(parse_structures(table))
    entry = parse_entry_point(sample("smbios", "lenovo-thinkpad-x230-entry.bin"))
    assert entry is not None and entry.length == len(table) and entry.count == len(parse_structures(table)) + 1


@pytest.mark.parametrize(("name", "expected"), ENTRIES.items(), ids=ENTRIES)
def test_an_entry_point_of_either_width_is_read_and_one_with_a_wrong_sum_is_none(
    name: str, expected: EntryPoint
) -> None:
    data = sample("smbios", name)
    assert parse_entry_point(data) == expected
    assert parse_entry_point(data + b"\0" * 16) == expected
    for at in range(len(data)):
        assert parse_entry_point(data[:at]) is None
        broken = bytes([*data[:at], data[at] ^ 0x01, *data[at + 1 :]])
        assert parse_entry_point(broken) is None, at


def test_a_version_that_was_written_as_a_decimal_number_is_understood() -> None:
    assert entry_of(sample("smbios", "vmware-vm-dump.bin")).version == (2, 3)


def test_a_structure_without_room_for_its_header_ends_the_walk() -> None:
    """Hyper-V blanks one: what lies behind it is out of reach, and the walk neither loops nor guesses."""
    structures = parse_structures(bare("hyper-v-generation1-table.bin"))
    assert len(structures) == 5 and not parse_memory(structures).devices
    assert board_of_table(structures) is None


def test_a_table_that_points_to_a_field_it_does_not_have_says_nothing_of_it() -> None:
    short = bytearray(0x1B)
    short[0:4] = bytes([17, 0x1B, 1, 0])
    short[0x0C:0x0E] = b"\xff\x7f"  # "see the extended size", in a structure of a version that had none
    short[0x15:0x17] = b"\xff\xff"
    short[0x10] = 9  # a string that is not there
    [device] = parse_memory(parse_structures(bytes(short) + b"\0\0")).devices
    assert (device.size, device.rated_mts, device.configured_mts, device.slot) == (None, None, None, "")


@pytest.mark.parametrize(
    ("size", "extended", "expected"),
    [
        (0, 0, 0),
        (0xFFFF, 0, None),
        (0x8400, 0, 1 << 20),
        (0x7FFE, 0, 0x7FFE << 20),
        (0x7FFF, 32768, 32 * GIB),
        (0x7FFF, 0x80008000, 32 * GIB),  # the highest bit is reserved
        (0x7FFF, 0, None),
        (0x7FFF, 0x7FFFFFFF, None),  # 2 PiB in one module
    ],
)
def test_sizes_small_large_unknown_and_absurd(size: int, extended: int, expected: int | None) -> None:
    made = bytearray(0x22)
    made[0:4] = bytes([17, 0x22, 1, 0])
    made[0x0C:0x0E] = size.to_bytes(2, "little")
    made[0x1C:0x20] = extended.to_bytes(4, "little")
    assert parse_memory(parse_structures(bytes(made) + b"\0\0")).devices[0].size == expected


@pytest.mark.parametrize(
    ("kind", "written", "mts"),
    [
        (0x18, 667, 1333),  # DDR3: the clock
        (0x18, 1600, 1600),
        (0x1A, 1067, 2133),  # DDR4
        (0x1A, 1600, 1600),
        (0x12, 333, 333),  # DDR: what is sold as 333
        (0x22, 0xFFFF, 8000),  # DDR5, in the extended field
        (0x22, 0, None),
    ],
)
def test_a_speed_is_in_transfers_whatever_was_written(kind: int, written: int, mts: int | None) -> None:
    made = bytearray(0x5C)
    made[0:4] = bytes([17, 0x5C, 1, 0])
    made[0x12] = kind
    made[0x15:0x17] = written.to_bytes(2, "little")
    made[0x54:0x58] = (8000).to_bytes(4, "little")
    assert parse_memory(parse_structures(bytes(made) + b"\0\0")).devices[0].rated_mts == mts


def test_where_one_speed_is_a_clock_all_of_its_field_are() -> None:
    def device(handle: int, rated: int, configured: int) -> bytes:
        made = bytearray(0x22)
        made[0:4] = bytes([17, 0x22, handle, 0])
        made[0x0C], made[0x12] = 1, 0x18  # DDR3
        made[0x15:0x17], made[0x20:0x22] = rated.to_bytes(2, "little"), configured.to_bytes(2, "little")
        return bytes(made) + b"\0\0"

    devices = parse_memory(parse_structures(device(1, 800, 800) + device(2, 667, 800))).devices
    assert [(one.rated_mts, one.configured_mts) for one in devices] == [(1600, 800), (1333, 800)]


def test_capacity_and_ranges_beyond_32_bits_are_in_fields_of_their_own() -> None:
    array = bytearray(0x17)
    array[0:4] = bytes([16, 0x17, 1, 0])
    array[5], array[6] = 3, 6
    array[7:11] = (0x80000000).to_bytes(4, "little")
    array[0x0F:0x17] = (3 << 40).to_bytes(8, "little")
    mapped = bytearray(0x1F)
    mapped[0:4] = bytes([19, 0x1F, 2, 0])
    mapped[4:8] = b"\xff\xff\xff\xff"
    mapped[0x17:0x1F] = ((5 << 40) - 1).to_bytes(8, "little")
    memory = parse_memory(parse_structures(bytes(array) + b"\0\0" + bytes(mapped) + b"\0\0"))
    assert memory.arrays[0].capacity == 3 << 40 and memory.mapped == 5 << 40
    assert memory.arrays[0].correction == "multi-bit ECC"


def test_what_is_mapped_is_what_is_installed() -> None:
    for name in ("lenovo-thinkpad-x230-table.bin", "asrock-ryzen-table.bin", "toshiba-satellite-pro-l70-dump.bin"):
        memory = parse_memory(parse_structures(bare(name)))
        assert memory.mapped == sum(device.size or 0 for device in memory.devices), name


# -- whatever the bytes are -------------------------------------------------------------------------------------------


def assert_plausible(table: bytes) -> None:
    """No exception, and no value that no machine has."""
    structures = parse_structures(table)
    assert sum(len(one.data) for one in structures) <= len(table)
    memory, hardware = parse_memory(structures), parse_hardware(structures)
    for array in memory.arrays:
        assert array.capacity is None or 0 < array.capacity <= MAX_ARRAY_BYTES
        assert array.correction in ("", *CORRECTIONS.values())
    for device in memory.devices:
        assert device.size is None or 0 <= device.size <= MAX_MODULE_BYTES
        assert all(s is None or 0 < s <= MAX_MTS for s in (device.rated_mts, device.configured_mts))
        assert all(w is None or 0 < w <= MAX_WIDTH for w in (device.total_width, device.data_width))
        for text in (device.slot, device.bank, device.maker, device.part):
            assert len(text) <= MAX_STRING_CHARS and text.isprintable()
    assert 0 <= hardware.empty_sockets <= hardware.sockets and 0 <= memory.mapped <= MAX_ARRAY_BYTES
    board = board_of_table(structures, by_processor=bool(len(table) % 2))
    if board is not None:
        assert board.board in ("", "slots", "soldered", "virtual")
        assert all(len(slot.slot) <= MAX_STRING_CHARS and slot.slot.isprintable() for slot in board.slots)


@pytest.mark.parametrize("name", DUMPS)
def test_a_table_cut_anywhere_is_read_as_far_as_it_goes(name: str) -> None:
    table = bare(name)
    whole = parse_structures(table)
    for cut in range(0, len(table), 1 + len(table) // 400):
        structures = parse_structures(table[:cut])
        assert all(a.data == b.data for a, b in zip(structures, whole, strict=False))
        assert_plausible(table[:cut])


mutations = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=24)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(DUMPS)), mutations, st.floats(0, 1))
def test_a_mutated_table_raises_nothing_and_says_nothing_absurd(
    name: str, changes: list[tuple[float, int]], cut: float
) -> None:
    table = bytearray(bare(name))
    for at, value in changes:
        table[int(at * len(table))] = value
    assert_plausible(bytes(table[: max(1, int(cut * len(table)))]))


pieces = st.lists(st.sampled_from([b"\x11\x5c", b"\x10\x17", b"\0\0", b"\xff" * 40])).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000) | pieces)
def test_any_bytes_are_a_table_of_something_or_nothing(data: bytes) -> None:
    assert_plausible(data)
    assert_plausible(windows_table(data))
    for anchored in (data, b"_SM3_" + data, b"_SM_" + data, b"_DMI_" + data):
        entry = parse_entry_point(anchored)
        assert entry is None or (entry.length < 2**32 and entry.count < 2**16)


def test_a_table_without_an_end_is_bounded() -> None:
    """Two megabytes of headers: not read beyond the first, and not longer than 8,192 structures."""
    assert len(parse_structures(bytes([17, 4, 0, 0, 0, 0]) * 350_000)) == 8192
    devices = parse_memory(parse_structures((bytes([17, 0x15]) + bytes(0x15)) * 50_000)).devices
    assert len(devices) == 1024


def test_a_windows_buffer_that_lies_about_its_length_is_read_as_far_as_it_goes() -> None:
    data = sample("smbios", "windows-rawsmbios-3.2.bin")
    assert windows_table(data) == data[8:]
    lying = data[:4] + b"\xff\xff\xff\xff" + data[8:]
    assert windows_table(lying) == data[8:]
    assert windows_table(data[:6]) == b""


def test_strings_are_shown_and_not_obeyed() -> None:
    one = Structure(17, 0, bytes([17, 5, 0, 0, 1]), (b"\x1b[2JDIMM\xff\xe2\x80\xaeA", b"To Be Filled By O.E.M."))
    assert re.fullmatch(r"\[2JDIMM A", one.text(4)), one.text(4)
    assert Structure(17, 0, bytes([17, 5, 0, 0, 2]), one.strings).text(4) == ""
