"""Findings on memory."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.findings import Finding
from protocol.sections.memory import Memory
from protocol.units import size_text

MIB = 1024 * 1024


def little_available(known: Known) -> Iterator[Finding]:
    memory = known.of(Memory)
    if not memory.total or memory.available is None:
        return
    percent = 100 * memory.available / memory.total
    if percent < known.thresholds.memory_low_percent:
        yield Finding(
            code="memory-low",
            severity="error",
            evidence={
                "available": size_text(memory.available),
                "total": size_text(memory.total),
                "percent": round(percent),
            },
        )


def little_in_the_machine(known: Known) -> Iterator[Finding]:
    memory = known.of(Memory)
    if memory.total and memory.total < known.thresholds.memory_small_mib * MIB:
        yield Finding(code="memory-small", severity="info", evidence={"total": size_text(memory.total)})


def much_swapped(known: Known) -> Iterator[Finding]:
    memory = known.of(Memory)
    if not (memory.total and memory.swap_total and memory.swap_used and memory.available is not None):
        return
    swapped = 100 * memory.swap_used / memory.swap_total
    if swapped >= known.thresholds.swap_heavy_percent and memory.available < memory.total / 4:
        yield Finding(
            code="swap-heavy",
            severity="warning",
            evidence={"used": size_text(memory.swap_used), "total": size_text(memory.swap_total)},
        )


RULES = (little_available, little_in_the_machine, much_swapped)
