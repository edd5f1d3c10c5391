"""What udev keeps of the firmware's table says of the slots what the table says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.memory_board import MemoryBoard, board_of_table
from agent.facts.parsers.smbios import MAX_STRING_CHARS, parse_structures, windows_table
from agent.facts.parsers.smbios_memory import MAX_ARRAY_BYTES, MAX_MODULE_BYTES, MAX_MTS
from agent.facts.parsers.udev_memory import ONE_ARRAY_SLOTS, parse_udev_memory
from tests.support.samples import sample, samples
from tests.support.smbios import as_dump, table_of

PROGRAM = Path("/usr/lib/udev/dmi_memory_id")

TABLES = sorted(path.name for path in samples("smbios", "*.bin") if "entry" not in path.name)

TELLS_NOTHING = "hyper-v-generation1-table.bin"

TWO_ARRAYS = {"supermicro-super-server-table.bin"}
"""Of four slots each: udev keeps the second one's capacity."""


def udev_s(table: bytes, folder: Path) -> str:
    """What udev's own program says of a table."""
    dump = folder / "dump.bin"
    dump.write_bytes(as_dump(table))
    done = subprocess.run([PROGRAM, "-F", dump], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.skipif(not PROGRAM.exists(), reason="needs udev's dmi_memory_id")
@pytest.mark.parametrize("name", TABLES)
def test_the_real_udev_s_words_are_read_as_the_table_is(name: str, tmp_path: Path) -> None:
    data = sample("smbios", name)
    table = windows_table(data) if name.startswith("windows") else table_of(data)
    board = board_of_table(parse_structures(table))
    text = udev_s(table, tmp_path)
    virtual = board is not None and board.board == "virtual"
    read = parse_udev_memory(text, virtual=virtual, portable=board is not None and board.portable)
    if name == TELLS_NOTHING:
        assert board is None and read is None
        return
    assert board is not None and read is not None
    assert (read.board, read.slots, read.portable) == (board.board, board.slots, board.portable)
    assert read.ecc == board.ecc
    if len(board.slots) > ONE_ARRAY_SLOTS:
        assert read.capacity is None
    elif name not in TWO_ARRAYS:
        assert read.capacity == board.capacity


LINES = (
    "E:MEMORY_ARRAY_MAX_CAPACITY={}",
    "E:MEMORY_ARRAY_EC_TYPE={}",
    "E:MEMORY_DEVICE_0_SIZE={}",
    "E:MEMORY_DEVICE_1_PRESENT={}",
    "E:MEMORY_DEVICE_9999_SIZE={}",
    "MEMORY_DEVICE_3_TYPE={}",
    "E:MEMORY_DEVICE_0_TYPE={}",
    "E:MEMORY_DEVICE_0_SPEED_MTS={}",
    "E:MEMORY_DEVICE_0_LOCATOR={}",
    "E:MEMORY_DEVICE_0_MODULE_MANUFACTURER_ID={}",
    "{}",
)
ODD = ("\x1b[2J", "x" * 300, "²")
VALUES = (*ODD, "0", "17179869184", "9" * 30, "-1", "DDR4", "Bank 6, Hex 0x9B", "Bank 999, Hex 0xFF")


def assert_plausible(board: MemoryBoard) -> None:
    assert len(board.slots) <= 1024
    assert board.capacity is None or 0 < board.capacity <= MAX_ARRAY_BYTES
    for slot in board.slots:
        assert slot.size is None or 0 <= slot.size <= MAX_MODULE_BYTES
        assert slot.rated_mts is None or 0 < slot.rated_mts <= MAX_MTS
        assert len(slot.slot) <= MAX_STRING_CHARS and slot.slot.isprintable()
    assert msgspec.json.encode(board)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(VALUES) | st.text(max_size=20)), max_size=30))
def test_whatever_the_database_holds_nothing_is_raised_and_nothing_absurd_is_said(parts: list[tuple[str, str]]) -> None:
    text = "\n".join(line.format(value) for line, value in parts)
    board = parse_udev_memory(text, virtual=False, portable=False)
    if board is not None:
        assert_plausible(board)
