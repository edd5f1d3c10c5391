"""What can be done about a machine's memory: of every recorded machine, in words, and with what is not certain."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.memory_board import board_of_table
from agent.facts.parsers.smbios import parse_structures, windows_table
from guidance.language import LANGUAGES
from guidance.memory import memory_answer, sold_size
from guidance.texts import memory_answer as texts
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemorySlot
from tests.support.daemons import need
from tests.support.samples import sample, samples
from tests.support.smbios import as_dump, dmidecode, in_bytes, records, table_from_text, table_of

GIB = 1 << 30
SEEN = 4 * GIB
"""What the system sees, in these tests."""

VECTORS = Path(__file__).parents[1] / "vectors" / "memory" / "answers.tsv"
CASES = [line.split("\t") for line in VECTORS.read_text().splitlines() if not line.startswith("#")]
NOT_TABLES = {"lenovo-thinkpad-x230-entry.bin", "supermicro-super-server-entry.bin", "systab-smbios2.txt"}


def table(name: str) -> bytes:
    kind, _, file = name.partition("/")
    data = sample(kind, file)
    if kind == "dmidecode":
        return table_from_text(data.decode("utf-8", "replace"))
    return windows_table(data) if file.startswith("windows") else table_of(data)


def memory_of(name: str) -> Memory | None:
    board = board_of_table(parse_structures(table(name)))
    return None if board is None else Memory(total=SEEN, **msgspec.structs.asdict(board))


def pattern(text: str) -> str:
    return re.sub(r"\\\{\w+\\\}", ".+", re.escape(text))


def test_every_recorded_machine_has_its_case() -> None:
    found = {f"{kind}/{path.name}" for kind in ("smbios", "dmidecode") for path in samples(kind)}
    if not found:
        pytest.skip("no samples here")
    assert {name for name, _, _ in CASES} == found - {f"smbios/{name}" for name in NOT_TABLES}


@pytest.mark.parametrize(("name", "line", "doubts"), CASES, ids=[case[0] for case in CASES])
def test_a_recorded_machine_is_answered_for(name: str, line: str, doubts: str) -> None:
    memory = memory_of(name)
    if memory is None:
        assert line == ""
        return
    answer = memory_answer(memory)
    assert answer is not None and answer.line == line
    said = [getattr(texts, doubt.upper()) for doubt in doubts.split()]
    assert len(said) == len(answer.doubts)
    assert all(re.fullmatch(pattern(text), doubt) for text, doubt in zip(said, answer.doubts, strict=True))


@pytest.mark.parametrize("name", [name for name, line, _ in CASES if name.startswith("dmidecode/") and line])
def test_the_tables_made_from_dmidecode_s_texts_read_as_those_texts_to_dmidecode(name: str, tmp_path: Path) -> None:
    """So that the cases above are of the machines that were recorded, and not of what we made of them."""
    need("dmidecode")
    text = sample(*name.split("/")).decode("utf-8", "replace")
    dump = tmp_path / "dump.bin"
    dump.write_bytes(as_dump(table(name)))
    theirs = [fields for _, kind, fields in records(text) if kind == 17]
    again = [fields for _, kind, fields in records(dmidecode(dump, "17")) if kind == 17]
    assert len(theirs) == len(again) > 0
    for recorded, made in zip(theirs, again, strict=True):
        size = in_bytes(recorded.get("Size", ""))
        assert in_bytes(made["Size"]) == size or size == 0
        if size and recorded["Type"] not in ("<OUT OF SPEC>", "Reserved", "Other"):
            assert made["Type"] == recorded["Type"]
            assert " ".join(made["Locator"].split()) == " ".join(recorded["Locator"].split())


# -- machines as one might have them ----------------------------------------------------------------------------------

DDR4 = MemorySlot(slot="A", size=8 * GIB, kind="DDR4", form="SO-DIMM", rated_mts=2667, configured_mts=2400, ecc=False)
EMPTY = MemorySlot(slot="B", size=0, form="SO-DIMM")


def laptop(*slots: MemorySlot, **fields: object) -> Memory:
    values = {"total": 7 * GIB, "board": "slots", "portable": True, "capacity": 32 * GIB, "ecc": "none"}
    return msgspec.structs.replace(Memory(slots=slots), **(values | fields))


def test_the_answer_is_the_one_that_a_technician_wants_to_read_out() -> None:
    english, spanish = (memory_answer(laptop(DDR4, EMPTY), language) for language in LANGUAGES)
    assert english is not None and spanish is not None
    assert english.line == "8 GB in one of two slots; takes up to 32 GB; add DDR4 SO-DIMM 2666, non-ECC, up to 16 GB"
    assert spanish.line == (
        "8 GB en una de dos ranuras; admite hasta 32 GB; añada DDR4 SO-DIMM 2666, sin ECC, de hasta 16 GB"
    )
    assert english.doubts == (texts.CAPACITY_ITS_WORD,) and spanish.doubts != english.doubts


@pytest.mark.parametrize(
    ("memory", "line"),
    [
        (Memory(total=8 * GIB), "8 GB that the system sees; what its slots hold is not known"),
        (
            Memory(total=3 * GIB, board="virtual"),
            "3 GB, given to a virtual machine; more is set where the virtual machine is run",
        ),
        (Memory(total=GIB, board="soldered"), "1 GB soldered to the board; nothing can be added"),
        (
            laptop(DDR4, DDR4, capacity=None),
            "16 GB in both slots; no slot is free: for more, replace modules by larger ones of DDR4 SO-DIMM 2666, "
            "non-ECC",
        ),
        (laptop(DDR4, capacity=8 * GIB), "8 GB in the only slot; that is all that it takes"),
        (
            laptop(msgspec.structs.replace(DDR4, soldered=True, form="chips"), EMPTY),
            "8 GB soldered to the board, and nothing in the slots (one); takes up to 32 GB; "
            "add DDR4 SO-DIMM 2666, non-ECC, up to 16 GB",
        ),
        (
            laptop(msgspec.structs.replace(DDR4, size=None), EMPTY),
            "7 GB in one of two slots; add DDR4 SO-DIMM 2666, non-ECC",
        ),
        (
            laptop(DDR4, msgspec.structs.replace(DDR4, kind="DDR3"), EMPTY),
            "16 GB in two of three slots; takes up to 32 GB; add a module of the kind that is in it, up to 8 GB",
        ),
    ],
)
def test_of_every_kind_of_machine_something_is_said(memory: Memory, line: str) -> None:
    answer = memory_answer(memory)
    assert answer is not None and answer.line == line


def test_of_a_machine_that_says_nothing_nothing_is_said() -> None:
    assert memory_answer(Memory()) is None


def test_free_slots_are_known_where_slots_are() -> None:
    assert laptop(DDR4, EMPTY).slots_free == 1
    assert laptop(DDR4, DDR4).slots_free == 0
    assert Memory(board="soldered").slots_free == 0
    assert Memory(board="virtual", slots=(EMPTY,)).slots_free is None
    assert Memory().slots_free is None
    assert laptop(EMPTY, EMPTY).slots_free is None, "all empty: that cannot be"
    assert laptop(DDR4, slots_said=2).slots_free is None, "one is not described"


@pytest.mark.parametrize(
    ("size", "english", "spanish"),
    [
        (8 * GIB, "8 GB", "8 GB"),
        (GIB + GIB // 2, "1.5 GB", "1,5 GB"),
        (512 << 20, "512 MB", "512 MB"),
        (3 << 40, "3 TB", "3 TB"),
        (0, "0 MB", "0 MB"),
    ],
)
def test_sizes_are_said_as_memory_is_sold(size: int, english: str, spanish: str) -> None:
    assert (sold_size(size), sold_size(size, "es")) == (english, spanish)


slots = st.builds(
    MemorySlot,
    slot=st.text(max_size=8),
    size=st.none() | st.integers(0, 2**63 - 1),
    kind=st.sampled_from(["", "DDR3", "DDR4", "LPDDR5", "DRAM", "SDRAM", "NVDIMM", "{x}"]),
    form=st.sampled_from(["", "DIMM", "SO-DIMM", "chips", "FB-DIMM", "{0}"]),
    soldered=st.booleans(),
    rated_mts=st.none() | st.integers(0, 2**63 - 1),
    configured_mts=st.none() | st.integers(0, 2**63 - 1),
    ecc=st.none() | st.booleans(),
    registered=st.none() | st.booleans(),
)
memories = st.builds(
    Memory,
    total=st.none() | st.integers(0, 2**63 - 1),
    board=st.sampled_from(["", "slots", "soldered", "virtual", "of tomorrow"]),
    portable=st.booleans(),
    slots=st.lists(slots, max_size=20).map(tuple),
    slots_said=st.none() | st.integers(0, 2**63 - 1),
    capacity=st.none() | st.integers(0, 2**63 - 1),
    ecc=st.sampled_from(["", "none", "multi-bit ECC", "x"]),
    empty_sockets=st.integers(0, 9),
)


@settings(max_examples=500, deadline=None)
@given(memories, st.sampled_from([*LANGUAGES, "xx"]))
def test_whatever_a_device_says_there_is_an_answer_or_none(memory: Memory, language: str) -> None:
    """Sections come from strangers: the console answers for them too."""
    answer = memory_answer(memory, language)
    if answer is not None:
        assert answer.line and "None" not in answer.line
        assert len(answer.doubts) == len(set(answer.doubts)) <= 8
    free = memory.slots_free
    assert free is None or 0 <= free <= len(memory.slots)
