"""What memory looks like to a person."""

from __future__ import annotations

from console.render import print_pairs, print_table, size
from console.views.cells import filled, percent_of
from guidance.memory import memory_answer, sold_size
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import MemorySlot

MAX_ROWS = 64
"""Of a table in a terminal; servers have up to 96 slots. --json has all."""


def memory_view(memory: Memory) -> None:
    answer = memory_answer(memory)
    print_pairs(
        [
            ("total", size(memory.total)),
            ("available", f"{size(memory.available)}{percent_of(memory.available, memory.total)}"),
            ("swap", f"{size(memory.swap_used)} used of {size(memory.swap_total)}" if memory.swap_total else "none"),
            *filled(("pressure", _pressure(memory)), ("modules", answer.line if answer else "")),
            *(("not certain", doubt) for doubt in (answer.doubts if answer else ())),
            *filled(("guarded by", memory.ecc), ("errors", _errors(memory))),
        ]
    )
    if memory.slots:
        print()
        print_table(
            ("slot", "bank", "size", "kind", "speed", "maker", "part number", ""),
            [_row(slot) for slot in memory.slots[:MAX_ROWS]],
        )
        if len(memory.slots) > MAX_ROWS:
            print(f"and {len(memory.slots) - MAX_ROWS} more; --json shows them")


def _row(slot: MemorySlot) -> tuple[str, ...]:
    return (
        slot.slot or "-",
        slot.bank,
        "-" if slot.size is None else "empty" if slot.size == 0 else sold_size(slot.size),
        " ".join(filter(None, (slot.kind, slot.form))),
        _speed(slot),
        slot.maker,
        slot.part,
        _note(slot),
    )


def _speed(slot: MemorySlot) -> str:
    """ "2400 of 3200 MT/s" where it runs slower, or faster, than it is sold as."""
    rated, now = slot.rated_mts, slot.configured_mts
    if rated and now and rated != now:
        return f"{now} of {rated} MT/s"
    return f"{rated or now} MT/s" if rated or now else ""


def _note(slot: MemorySlot) -> str:
    notes = ["soldered"] if slot.soldered else []
    if slot.ecc:
        notes.append("registered ECC" if slot.registered else "ECC")
    if slot.silent:
        notes.append("did not come up")
    return ", ".join(notes)


def _pressure(memory: Memory) -> str:
    if memory.stalled_percent is None:
        return ""
    stuck = "" if memory.stuck_percent is None else f", all of them {memory.stuck_percent} %"
    return f"some program waited for memory {memory.stalled_percent} % of 5 min{stuck}"


def _errors(memory: Memory) -> str:
    if memory.errors is None:
        return ""
    counts = [
        f"{errors.slot or 'unplaced'}: {errors.corrected} corrected, {errors.uncorrected} not"
        for errors in memory.errors[:MAX_ROWS]
    ]
    return "; ".join(counts) or "none"
