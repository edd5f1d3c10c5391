"""What macOS says of its memory, and what else was recorded of it on other systems."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.memory_board import MemoryBoard
from agent.facts.parsers.system_profiler import MAX_SLOTS, MAX_VALUE_CHARS, parse_memory_json, parse_memory_text
from guidance.memory import memory_answer
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemorySlot
from tests.support.samples import sample, samples

GIB, MIB = 1 << 30, 1 << 20

SLOTS: dict[str, tuple[str, tuple[MemorySlot, ...]]] = {
    "system-profiler-10.4-powerpc.txt": (
        "slots",
        (
            MemorySlot(slot="DIMM0/J6700", size=GIB, kind="DDR2", rated_mts=533),
            MemorySlot(slot="DIMM1/J6800", size=GIB, kind="DDR2", rated_mts=533),
            *(
                MemorySlot(slot=f"DIMM{number}/J{place}00", size=0)
                for number, place in ((2, 69), (3, 70), (4, 71), (5, 72), (6, 73), (7, 74))
            ),
        ),
    ),
    "system-profiler-10.6-macmini.txt": (
        "slots",
        (
            MemorySlot(slot="BANK 0/DIMM0", size=2 * GIB, kind="DDR3", rated_mts=1067),
            MemorySlot(slot="BANK 1/DIMM0", size=2 * GIB, kind="DDR3", rated_mts=1067),
        ),
    ),
    "system-profiler-10.6.6-intel.txt": (
        "slots",
        tuple(
            MemorySlot(
                slot=f"BANK {n}/DIMM{n}",
                size=512 * MIB,
                kind="DDR2",
                rated_mts=667,
                maker="SK Hynix",
                part="HYMP564S64CP6-Y5",
            )
            for n in (0, 1)
        ),
    ),
    "system-profiler-11.0-apple-m1.txt": ("soldered", (MemorySlot(size=16 * GIB, kind="LPDDR4", soldered=True),)),
    "system-profiler-spmemory-text-macbook-pro-2010.txt": (
        "slots",
        tuple(
            MemorySlot(
                slot=f"BANK {n}/DIMM0",
                size=4 * GIB,
                kind="DDR3",
                rated_mts=1067,
                maker="G.Skill",
                part="FA-8500CL7-4GBSQ",
            )
            for n in (0, 1)
        ),
    ),
}

NOT_ASKED = {
    "get-ciminstance-win32-physicalmemory-azure.txt",
    "jc-windows-windows-10-systeminfo-hyperv.txt",
    "jc-windows-windows-2012r2-systeminfo.txt",
    "wmic-2003-win32_physicalmemory.txt",
    "wmic-2003-win32_physicalmemoryarray.txt",
    "wmic-7-win32_physicalmemory.txt",
    "wmic-7-win32_physicalmemoryarray.txt",
    "wmic-memorychip-get-4-of-4-ddr4.txt",
    "wmic-xp-win32_physicalmemory.txt",
    "wmic-xp-win32_physicalmemoryarray.txt",
}
"""Windows is asked for the firmware's table itself, of which all of these are excerpts: test_smbios.py."""


def test_every_recorded_answer_has_its_case() -> None:
    found = {path.name for path in samples("memory-os")}
    if not found:
        pytest.skip("no samples here")
    assert found == {*SLOTS, *NOT_ASKED}


@pytest.mark.parametrize(("name", "expected"), SLOTS.items(), ids=SLOTS)
def test_a_recorded_answer_is_read(name: str, expected: tuple[str, tuple[MemorySlot, ...]]) -> None:
    board = parse_memory_text(sample("memory-os", name).decode("utf-8", "replace"))
    assert board is not None and (board.board, board.slots) == expected


def test_an_apple_processor_s_memory_cannot_be_added_to() -> None:
    board = parse_memory_text(sample("memory-os", "system-profiler-11.0-apple-m1.txt").decode())
    assert board is not None
    answer = memory_answer(Memory(total=16 * GIB, board=board.board, slots=board.slots))
    assert answer is not None and answer.line == "16 GB of LPDDR4, soldered to the board; nothing can be added"


INTEL = {
    "SPMemoryDataType": [
        {
            "_items": [
                {
                    "_name": "BANK 0/ChannelA-DIMM0",
                    "dimm_manufacturer": "0x80AD",
                    "dimm_part_number": "0x484D41383531533643",
                    "dimm_size": "8 GB",
                    "dimm_speed": "2400 MHz",
                    "dimm_status": "ok",
                    "dimm_type": "DDR4",
                },
                {"_name": "BANK 2/ChannelB-DIMM0", "dimm_size": "empty", "dimm_type": "empty", "dimm_status": "empty"},
            ],
            "_name": "global_name",
            "global_ecc_state": "ecc_disabled",
            "is_memory_upgradeable": "Yes",
        }
    ]
}
"""The form of Apple's JSON, whose keys are those of its property lists."""


def test_json_is_read_as_the_text_is() -> None:
    board = parse_memory_json(json.dumps(INTEL).encode())
    assert board == MemoryBoard(
        board="slots",
        ecc="none",
        slots=(
            MemorySlot(
                slot="BANK 0/ChannelA-DIMM0",
                size=8 * GIB,
                kind="DDR4",
                rated_mts=2400,
                maker="SK Hynix",
                part="HMA851S6C",
            ),
            MemorySlot(slot="BANK 2/ChannelB-DIMM0", size=0),
        ),
    )
    fixed = json.loads(json.dumps(INTEL).replace("Yes", "No"))
    soldered = parse_memory_json(json.dumps(fixed).encode())
    assert soldered is not None and soldered.board == "soldered"
    apple = {"SPMemoryDataType": [{"SPMemoryDataType": "16 GB", "dimm_manufacturer": "Micron", "dimm_type": "LPDDR5"}]}
    assert parse_memory_json(json.dumps(apple).encode()) == MemoryBoard(
        board="soldered", slots=(MemorySlot(size=16 * GIB, kind="LPDDR5", soldered=True, maker="Micron"),)
    )


@pytest.mark.parametrize(
    ("speed", "mts"),
    [
        ("1067 MHz", 1067),
        ("3200 MT/s", 3200),
        ("PC133-333", 133),
        ("PC2700U-25330", 333),
        ("PC3200", 400),
        ("PC2-4200U-444", 533),
        ("PC3-8500", 1066),
        ("PC3-10600", 1333),
        ("Empty", None),
        ("fast", None),
    ],
)
def test_a_speed_is_transfers_whether_it_was_a_clock_or_a_bandwidth(speed: str, mts: int | None) -> None:
    text = f"Memory:\n\n    DIMM0:\n\n      Size: 1 GB\n      Type: DDR\n      Speed: {speed}\n"
    board = parse_memory_text(text)
    assert board is not None and board.slots[0].rated_mts == mts


def assert_plausible(board: MemoryBoard | None) -> None:
    if board is None:
        return
    assert board.board in ("slots", "soldered") and 0 < len(board.slots) <= MAX_SLOTS
    for slot in board.slots:
        assert slot.size is None or 0 <= slot.size <= 4096 << 40
        assert slot.rated_mts is None or 0 < slot.rated_mts < 100_000
        assert max(map(len, (slot.slot, slot.kind, slot.maker, slot.part))) <= MAX_VALUE_CHARS


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(SLOTS)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.characters()), max_size=12),
    st.floats(0, 1),
)
def test_a_mutated_or_cut_answer_raises_nothing_and_says_nothing_absurd(
    name: str, changes: list[tuple[float, str]], cut: float
) -> None:
    text = list(sample("memory-os", name).decode("utf-8", "replace"))
    for at, character in changes:
        text[int(at * len(text))] = character
    assert_plausible(parse_memory_text("".join(text)[: int(cut * len(text))]))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.sampled_from(["8 GB", "99999 TB", "empty"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["SPMemoryDataType", "_items", "_name", "dimm_size", "dimm_type", "dimm_speed", "x"]), inner
        )
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(anything.map(lambda value: json.dumps({"SPMemoryDataType": value})) | st.text(max_size=100))
def test_any_json_is_an_answer_or_none(text: str) -> None:
    assert_plausible(parse_memory_json(text.encode("utf-8", "replace")))


def test_depth_without_end_is_none() -> None:
    assert parse_memory_json(b'{"SPMemoryDataType":' + b"[" * 100_000) is None
    assert parse_memory_json(b"\xff\xfe") is None
