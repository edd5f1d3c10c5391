"""Findings on memory modules: what sits in the slots, how it runs, and what of it is missing.

All but pressure and errors are about modules that can be taken out: of soldered memory and of a virtual machine's
nothing here is anybody's to change.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.connectivity import Evidence
from protocol.sections.findings import MAX_SUBJECT_CHARS, Finding
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.memory_slots import SLOTS, MemorySlot
from protocol.units import size_text

MIB, GIB = 1 << 20, 1 << 30

NARROW = ("i386", "i486", "i586", "i686", "armv6", "armv7", "mips", "ppc", "x86")
NOT_NARROW = ("x86_64", "mips64", "ppc64")
"""By how the names of 32-bit systems begin; and of 64-bit ones that begin alike."""

NARROW_LIMIT = 4 * GIB

ALONE_PERCENT = 45
"""Of the only module: less than half of it cannot be a module that failed, so it must be a part that is kept back."""


def pressed(known: Known) -> Iterator[Finding]:
    memory, limits = known.of(Memory), known.thresholds
    stalled, stuck = memory.stalled_percent, memory.stuck_percent or 0
    if stalled is not None and (stalled >= limits.memory_pressure_percent or stuck >= limits.memory_stuck_percent):
        yield Finding(
            code="memory-pressure",
            severity="error" if stuck >= limits.memory_stuck_percent else "warning",
            evidence={"stalled": stalled, "stuck": stuck},
        )


def can_be_added(known: Known) -> Iterator[Finding]:
    memory = known.of(Memory)
    installed, free = memory.installed, memory.slots_free
    if not free or installed is None or installed > known.thresholds.memory_expandable_mib * MIB:
        return
    yield Finding(code="memory-expandable", severity="info", evidence={"size": size_text(installed), "free": free})


def of_different_speeds(known: Known) -> Iterator[Finding]:
    speeds = {module.rated_mts for module in _removable(known) if module.rated_mts}
    if len(speeds) > 1:
        yield Finding(
            code="memory-speeds-differ", severity="info", evidence={"slowest": min(speeds), "fastest": max(speeds)}
        )


def slower_than_rated(known: Known) -> Iterator[Finding]:
    """Against the slowest module: that the others run as slowly is another finding."""
    modules = _removable(known)
    rated = min((module.rated_mts for module in modules if module.rated_mts), default=None)
    now = min((module.configured_mts for module in modules if module.configured_mts), default=None)
    if rated and now and now < rated * known.thresholds.memory_slow_percent / 100:
        yield Finding(code="memory-slow", severity="info", evidence={"now": now, "rated": rated})


def in_one_channel(known: Known) -> Iterator[Finding]:
    """One module where two would be read at once; or two of different sizes, where only a part is."""
    memory, modules = known.of(Memory), _removable(known)
    if len(modules) != len(memory.modules):
        return  # with soldered memory beside it, who knows
    if len(modules) == 1 and memory.slots_free:
        yield Finding(code="memory-single-channel", severity="info", evidence={"size": size_text(modules[0].size or 0)})
    sizes = {module.size for module in modules if module.size}
    if len(modules) == 2 and len(sizes) == 2:
        yield Finding(
            code="memory-sizes-differ",
            severity="info",
            evidence={"smaller": size_text(min(sizes)), "larger": size_text(max(sizes))},
        )


def less_than_installed(known: Known) -> Iterator[Finding]:
    memory, system = known.of(Memory), known.of(System)
    installed, total = memory.installed, memory.total
    if memory.board != SLOTS or installed is None or total is None or installed <= total:
        return
    evidence: Evidence = {
        "installed": size_text(installed),
        "total": size_text(total),
        "missing": size_text(installed - total),
    }
    if _is_narrow(system.architecture) and total < NARROW_LIMIT <= installed:
        yield Finding(code="memory-32-bit", severity="warning", evidence=evidence)
        return
    sizes = [module.size for module in memory.modules if module.size]
    percent = 100 * (installed - total) / installed
    least = known.thresholds.memory_missing_percent if len(sizes) > 1 else ALONE_PERCENT
    # A module that failed is missing whole, but for what the rest of the system keeps of the others anyway.
    if percent >= least and (len(sizes) == 1 or installed - total >= 0.9 * min(sizes)):
        yield Finding(code="memory-missing", severity="warning", evidence=evidence)


def silent_modules(known: Known) -> Iterator[Finding]:
    memory = known.of(Memory)
    if memory.board != SLOTS or memory.slots_free is None:
        return
    for slot in memory.slots:
        if slot.silent:
            yield Finding(
                code="memory-module-silent",
                severity="warning",
                subject=(slot.slot or slot.bank or "?")[:MAX_SUBJECT_CHARS],
                evidence={"maker": slot.maker[:MAX_SUBJECT_CHARS], "part": slot.part[:MAX_SUBJECT_CHARS]},
            )


def counted_errors(known: Known) -> Iterator[Finding]:
    for errors in known.of(Memory).errors or ():
        if errors.uncorrected:
            yield Finding(
                code="memory-errors",
                severity="error",
                subject=errors.slot[:MAX_SUBJECT_CHARS],
                evidence={"count": errors.uncorrected},
            )
        elif errors.corrected >= known.thresholds.memory_corrected_errors:
            yield Finding(
                code="memory-errors-corrected",
                severity="warning",
                subject=errors.slot[:MAX_SUBJECT_CHARS],
                evidence={"count": errors.corrected},
            )


def unused_check_bits(known: Known) -> Iterator[Finding]:
    modules = _removable(known)
    if known.of(Memory).ecc == "none" and modules and all(module.ecc for module in modules):
        yield Finding(code="memory-ecc-unused", severity="info", evidence={"modules": len(modules)})


def _removable(known: Known) -> list[MemorySlot]:
    memory = known.of(Memory)
    return [module for module in memory.modules if not module.soldered] if memory.board == SLOTS else []


def _is_narrow(architecture: str) -> bool:
    return architecture.startswith(NARROW) and not architecture.startswith(NOT_NARROW)


RULES = (
    pressed,
    can_be_added,
    of_different_speeds,
    slower_than_rated,
    in_one_channel,
    less_than_installed,
    silent_modules,
    counted_errors,
    unused_check_bits,
)
