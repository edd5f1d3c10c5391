"""What memory looks like to a person."""

from __future__ import annotations

from console.render import print_pairs, size
from console.views.cells import percent_of
from protocol.sections.memory import Memory


def memory_view(memory: Memory) -> None:
    print_pairs(
        [
            ("total", size(memory.total)),
            ("available", f"{size(memory.available)}{percent_of(memory.available, memory.total)}"),
            ("swap", f"{size(memory.swap_used)} used of {size(memory.swap_total)}" if memory.swap_total else "none"),
        ]
    )
