"""What the battery looks like to a person."""

from __future__ import annotations

from console.render import print_pairs
from console.views.cells import filled, number
from protocol.sections.battery import Battery


def battery_view(battery: Battery) -> None:
    if not battery.present:
        print("no battery")
    for cell in battery.cells:
        print_pairs(
            filled(
                ("battery", f"{cell.name} {cell.model}".strip()),
                ("charge", f"{number(cell.percent)} % {cell.state}".strip()),
                ("health", f"{cell.health_percent} % of new" if cell.health_percent is not None else ""),
                ("condition", {"good": "good", "service": "to be replaced"}.get(cell.condition, "")),
                ("cycles", str(cell.cycles) if cell.cycles is not None else ""),
            )
        )
    if battery.mains is not None:
        print_pairs([("mains", "plugged in" if battery.mains else "not plugged in")])
