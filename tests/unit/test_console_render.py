"""Nothing that came from outside reaches the terminal with its teeth."""

from __future__ import annotations

import json

import msgspec
import pytest

from console.render import print_json, print_pairs, print_table
from console.views.table import print_section
from protocol.sections.base import Section
from protocol.sections.battery import Battery, Cell
from protocol.sections.catalogue import SECTIONS
from protocol.sections.machine import Cpu, System
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemoryErrors, MemorySlot
from protocol.sections.network import Interface, Network, Route
from protocol.sections.software import Package, Software
from protocol.sections.storage import Disk, Filesystem, Storage
from protocol.sections.updates import Broken, Update, Updates

HOSTILE = "x\x1b]0;owned\x07\x1b[2J\u202e\n[red]:smile:[/red]\r\x9b31m"

EVERY = [
    System(hostname=HOSTILE, os_name=HOSTILE, kernel=HOSTILE, vendor=HOSTILE, virtual=HOSTILE, booted_at=10**18),
    Cpu(model=HOSTILE, cores=2, threads=4, max_mhz=2800, load_15m=1.5),
    Memory(
        total=2**33,
        available=2**32,
        swap_total=0,
        stalled_percent=3,
        board="slots",
        capacity=2**34,
        ecc=HOSTILE,
        slots=(MemorySlot(slot=HOSTILE, bank=HOSTILE, size=2**33, kind=HOSTILE, maker=HOSTILE, part=HOSTILE),) * 70,
        errors=(MemoryErrors(slot=HOSTILE, corrected=3),),
    ),
    Storage(
        disks=(Disk(name=HOSTILE, model=HOSTILE, size=-5),),
        filesystems=(Filesystem(mount=HOSTILE, device=HOSTILE, type=HOSTILE, size=0, available=5),),
    ),
    Network(
        interfaces=(Interface(name=HOSTILE, addresses=(HOSTILE,), mac=HOSTILE),),
        default_routes=(Route(family=4, gateway=HOSTILE, interface=HOSTILE),),
        dns_servers=(HOSTILE,),
        search_domains=(HOSTILE,),
    ),
    Software(systems=(HOSTILE,), packages=(Package(name=HOSTILE, version=HOSTILE, vendor=HOSTILE, system=HOSTILE),)),
    Updates(
        systems=(HOSTILE,),
        updates=(Update(name=HOSTILE, version=HOSTILE, security=True, origin=HOSTILE),),
        refreshed_at={HOSTILE: 10**18},
        restart=True,
        restart_for=(HOSTILE,),
        held=(HOSTILE,),
        broken=(Broken(name=HOSTILE, state=HOSTILE),),
    ),
    Battery(present=True, cells=(Cell(name=HOSTILE, model=HOSTILE, state=HOSTILE, percent=50, cycles=3),)),
    Section(unavailable={HOSTILE: HOSTILE}),
]


def _harmless(text: str) -> bool:
    return all(character == "\n" or character.isprintable() for character in text)


@pytest.mark.parametrize("section", EVERY, ids=lambda section: type(section).__name__)
def test_hostile_sections_print_harmlessly(section: Section, capsys: pytest.CaptureFixture[str]) -> None:
    print_section(section)
    shown = capsys.readouterr().out
    assert _harmless(shown)


def test_memory_is_shown_slot_by_slot_and_ends_in_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    module = MemorySlot(
        slot="ChannelA", bank="BANK 0", size=2**33, kind="DDR4", form="SO-DIMM", rated_mts=2666, configured_mts=2400
    )
    named = msgspec.structs.replace(module, maker="Samsung", part="M471A1K43CB1", ecc=True)
    slots = (named, MemorySlot(slot="ChannelB", size=0))
    print_section(Memory(total=2**33, board="slots", slots=slots, capacity=2**35, stalled_percent=5, stuck_percent=0))
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "modules 8 GB in one of two slots; takes up to 32 GB; add DDR4 SO-DIMM 2666, ECC, up to 16 GB" in shown
    assert "ChannelA BANK 0 8 GB DDR4 SO-DIMM 2400 of 2666 MT/s Samsung M471A1K43CB1 ECC" in shown
    assert "ChannelB empty" in shown
    assert any(line.startswith("not certain ") for line in shown)
    assert "pressure some program waited for memory 5 % of 5 min, all of them 0 %" in shown


def test_every_section_has_a_view() -> None:
    from console.views.table import VIEWS

    assert set(VIEWS) == set(SECTIONS.values())


def test_an_empty_section_of_every_kind_prints(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in SECTIONS.values():
        print_section(kind())
    assert "None" not in capsys.readouterr().out


def test_markup_of_a_stranger_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("host",), [("[red]a[/red] :smile:",)])
    assert "[red]a[/red] :smile:" in capsys.readouterr().out


def test_pairs_and_json_are_harmless_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs([("host", HOSTILE)])
    print_json({"host": HOSTILE})
    shown = capsys.readouterr().out
    assert _harmless(shown)
    assert json.loads(shown.split("\n", 1)[1])["host"] == HOSTILE


def test_a_table_in_a_pipe_keeps_ids_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("id", "tags"), [("k3m9x-abcde-fghij-klmno", "tag " * 100)])
    assert "k3m9x-abcde-fghij-klmno" in capsys.readouterr().out
