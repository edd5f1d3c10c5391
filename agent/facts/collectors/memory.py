"""How the section on memory is made."""

from __future__ import annotations

from agent.facts.source import Asked
from agent.facts.sources import machine
from protocol.sections.memory import Memory


def memory_section(asked: Asked) -> Memory:
    memory = asked.ask(machine.MEMORY, None)
    swap = asked.ask(machine.SWAP, None)
    return Memory(
        total=memory.total if memory else None,
        available=min(memory.free, memory.total) if memory else None,
        swap_total=swap.total if swap else None,
        swap_used=max(0, swap.total - swap.free) if swap else None,
        unavailable=asked.unavailable,
    )
