"""How the section on memory is made."""

from __future__ import annotations

from agent.facts.parsers.memory_board import MemoryBoard
from agent.facts.parsers.memory_live import Pressure
from agent.facts.source import LINUX, Asked
from agent.facts.sources import machine
from agent.facts.sources import memory as live
from protocol.sections.memory import Memory


def memory_section(asked: Asked) -> Memory:
    memory = asked.ask(machine.MEMORY, None)
    swap = asked.ask(machine.SWAP, None)
    board = asked.ask(live.BOARD, MemoryBoard())
    on_linux = asked.platform in LINUX
    pressure = asked.ask(live.PRESSURE, Pressure()) if on_linux else Pressure()
    return Memory(
        total=memory.total if memory else None,
        available=min(memory.free, memory.total) if memory else None,
        swap_total=swap.total if swap else None,
        swap_used=max(0, swap.total - swap.free) if swap else None,
        stalled_percent=None if pressure.some is None else int(pressure.some),
        stuck_percent=None if pressure.full is None else int(pressure.full),
        board=board.board,
        portable=board.portable,
        slots=board.slots,
        slots_said=board.slots_said,
        capacity=board.capacity,
        ecc=board.ecc,
        empty_sockets=board.empty_sockets,
        errors=asked.ask(live.ERRORS, None) if on_linux else None,
        unavailable=asked.unavailable,
    )
