"""How the section on the battery is made."""

from __future__ import annotations

from agent.facts.source import LINUX, Asked
from agent.facts.sources import power
from protocol.sections.battery import Battery


def battery_section(asked: Asked) -> Battery:
    supplies = asked.ask(power.SUPPLIES if asked.platform in LINUX else power.SUPPLIES_ELSEWHERE, ())
    cells = tuple(supply.cell for supply in supplies if supply.cell is not None)
    feeds = [supply.online for supply in supplies if supply.online is not None]
    return Battery(
        present=bool(cells),
        mains=any(feeds) if cells and feeds else None,
        cells=cells,
        unavailable=asked.unavailable,
    )
