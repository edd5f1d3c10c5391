"""What is found of memory modules, and what is not: each rule at its edge."""

from __future__ import annotations

import msgspec
import pytest

from agent.facts.parsers.memory_board import board_of_table
from agent.facts.parsers.smbios import parse_structures
from agent.findings.find import find
from agent.findings.known import Known
from agent.findings.thresholds import Thresholds
from protocol.sections.findings import Finding
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemoryErrors, MemorySlot
from tests.support.samples import sample
from tests.support.smbios import table_from_text

GIB = 1 << 30
FULL = MemorySlot(
    slot="A", size=8 * GIB, kind="DDR4", form="DIMM", rated_mts=3200, configured_mts=3200, maker="Samsung", part="M378"
)
OTHER = msgspec.structs.replace(FULL, slot="B")
EMPTY = MemorySlot(slot="B", size=0, form="DIMM")


def found(memory: Memory, system: System | None = None, thresholds: Thresholds | None = None) -> dict[str, Finding]:
    """What is found of memory, but for what is there to use."""
    sections = {"memory": memory, "system": system or System(architecture="x86_64")}
    section = find(Known(sections, 0.0, thresholds))
    assert section.unavailable == {}
    return {finding.code: finding for finding in section.findings if finding.code.startswith("memory-")}


def board(*slots: MemorySlot, **fields: object) -> Memory:
    values: dict[str, object] = {"total": 15 * GIB, "available": 9 * GIB, "board": "slots"}
    return msgspec.structs.replace(Memory(slots=slots), **(values | fields))


def replace(slot: MemorySlot, **fields: object) -> MemorySlot:
    return msgspec.structs.replace(slot, **fields)


def test_a_machine_with_two_modules_alike_is_healthy() -> None:
    assert found(board(FULL, OTHER, ecc="none", stalled_percent=0, stuck_percent=0, errors=())) == {}


@pytest.mark.parametrize(
    ("stalled", "stuck", "severity"),
    [(0, 0, None), (19, 9, None), (20, 0, "warning"), (20, 9, "warning"), (10, 10, "error"), (None, None, None)],
)
def test_pressure_is_a_finding_from_when_people_notice(
    stalled: int | None, stuck: int | None, severity: str | None
) -> None:
    finding = found(board(FULL, OTHER, stalled_percent=stalled, stuck_percent=stuck)).get("memory-pressure")
    assert (finding.severity if finding else None) == severity


@pytest.mark.parametrize(
    ("memory", "code"),
    [
        (board(FULL, EMPTY, total=7 * GIB), "memory-expandable"),
        (board(FULL, replace(OTHER, rated_mts=2666)), "memory-speeds-differ"),
        (board(replace(FULL, configured_mts=2400), replace(OTHER, configured_mts=2400)), "memory-slow"),
        (board(FULL, EMPTY, total=7 * GIB), "memory-single-channel"),
        (board(FULL, replace(OTHER, size=4 * GIB), total=11 * GIB), "memory-sizes-differ"),
        (board(FULL, OTHER, total=7 * GIB), "memory-missing"),
        (board(replace(FULL, size=8 * GIB), total=4 * GIB), "memory-missing"),
        (board(FULL, replace(EMPTY, maker="Hynix", part="HMA81"), total=7 * GIB), "memory-module-silent"),
        (board(FULL, OTHER, errors=(MemoryErrors(uncorrected=1),)), "memory-errors"),
        (board(FULL, OTHER, errors=(MemoryErrors(slot="A", corrected=10),)), "memory-errors-corrected"),
        (board(replace(FULL, ecc=True), replace(OTHER, ecc=True), ecc="none"), "memory-ecc-unused"),
    ],
)
def test_each_fault_is_found(memory: Memory, code: str) -> None:
    assert code in found(memory)


@pytest.mark.parametrize(
    ("memory", "code"),
    [
        (board(replace(FULL, size=16 * GIB), EMPTY), "memory-expandable"),  # enough is in it
        (board(FULL, slots_said=2, total=7 * GIB), "memory-expandable"),  # who knows
        (board(FULL, replace(OTHER, rated_mts=None)), "memory-speeds-differ"),
        (board(replace(FULL, configured_mts=2933), replace(OTHER, configured_mts=2933)), "memory-slow"),
        (board(FULL, replace(OTHER, rated_mts=2400, configured_mts=2400)), "memory-slow"),  # the slowest one's own
        (board(FULL, total=7 * GIB), "memory-single-channel"),  # the only slot
        (board(replace(FULL, soldered=True, form="chips"), OTHER, EMPTY), "memory-single-channel"),
        (board(FULL, OTHER, total=14 * GIB), "memory-missing"),  # graphics and firmware
        (board(replace(FULL, size=4 * GIB), total=3 * GIB), "memory-missing"),  # graphics in a small machine
        (board(*[replace(FULL, size=GIB)] * 8, total=7 * GIB), "memory-missing"),  # an eighth may be kept back
        (board(FULL, replace(EMPTY, maker="Hynix"), total=7 * GIB), "memory-module-silent"),
        (board(FULL, OTHER, errors=(MemoryErrors(corrected=9),)), "memory-errors-corrected"),
        (board(replace(FULL, ecc=True), OTHER, ecc="none"), "memory-ecc-unused"),
        (board(replace(FULL, ecc=True), replace(OTHER, ecc=True), ecc="multi-bit ECC"), "memory-ecc-unused"),
    ],
)
def test_what_is_no_fault_is_not_found(memory: Memory, code: str) -> None:
    assert code not in found(memory)


@pytest.mark.parametrize("kind", ["virtual", "soldered", ""])
def test_of_modules_that_nobody_can_change_nothing_is_said(kind: str) -> None:
    odd = replace(FULL, rated_mts=3200, configured_mts=1600, ecc=True)
    memory = board(odd, replace(EMPTY, maker="X", part="Y"), board=kind, ecc="none", total=3 * GIB)
    assert set(found(memory)) <= {"memory-small"}


@pytest.mark.parametrize(
    ("architecture", "code"),
    [
        ("i686", "memory-32-bit"),
        ("armv7l", "memory-32-bit"),
        ("x86_64", "memory-missing"),
        ("mips64", "memory-missing"),
    ],
)
def test_a_narrow_system_is_told_from_a_missing_module(architecture: str, code: str) -> None:
    codes = found(board(FULL, total=3 * GIB), System(architecture=architecture))
    assert {"memory-32-bit", "memory-missing"} & set(codes) == {code}


def test_a_policy_moves_the_limits() -> None:
    memory = board(FULL, OTHER, stalled_percent=30)
    limits = Thresholds.with_changes({"memory_pressure_percent": 31})
    assert "memory-pressure" in found(memory) and "memory-pressure" not in found(memory, thresholds=limits)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("hw-avita-ns14a6.txt", {"memory-expandable", "memory-single-channel", "memory-slow"}),
        ("hw-acer-aspire-m3470.txt", {"memory-speeds-differ"}),  # its firmware writes clocks: 667 is no slow memory
        ("hw-asustek-computer-rog-ally-rc71l-rc71l.txt", set()),
        ("hw-dell-latitude-9440-2-in-1.txt", set()),
        ("hw-asustek-computer-prime-x299-a.txt", {"memory-single-channel", "memory-ecc-unused"}),
        ("hw-hewlett-packard-compaq-dc5850-microtower.txt", {"memory-speeds-differ", "memory-expandable"}),
        ("jc-centos7-vmware.txt", set()),
    ],
)
def test_of_recorded_machines_what_is_so_is_found_and_nothing_else(name: str, codes: set[str]) -> None:
    table = table_from_text(sample("dmidecode", name).decode("utf-8", "replace"))
    layout = board_of_table(parse_structures(table))
    assert layout is not None
    memory = Memory(**msgspec.structs.asdict(layout))
    installed = memory.installed
    assert installed is not None
    whole = msgspec.structs.replace(memory, total=installed - installed // 16)
    assert set(found(whole)) == codes
