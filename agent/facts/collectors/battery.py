"""How the section on the battery is made."""

from __future__ import annotations

from agent.facts.parsers.power_supply import Supply
from agent.facts.source import LINUX, Asked
from agent.facts.sources import power
from protocol.sections.battery import Battery


def _supplies(asked: Asked) -> tuple[Supply, ...]:
    if asked.platform in LINUX:
        return asked.ask(power.SUPPLIES, ())
    if asked.platform in power.FREEBSD:
        return asked.ask(power.ACPICONF, ())
    now = asked.ask(power.SUPPLIES_ELSEWHERE, ())
    if asked.platform in power.MACOS:
        return asked.ask(power.SYSTEM_PROFILER, (), otherwise=now) or now
    return power.with_charge(asked.ask(power.BATTERY_REPORT, ()), now) if now else now


def battery_section(asked: Asked) -> Battery:
    supplies = _supplies(asked)
    cells = tuple(supply.cell for supply in supplies if supply.cell is not None)
    feeds = [supply.online for supply in supplies if supply.online is not None]
    return Battery(
        present=bool(cells),
        mains=any(feeds) if cells and feeds else None,
        cells=cells,
        unavailable=asked.unavailable,
    )
