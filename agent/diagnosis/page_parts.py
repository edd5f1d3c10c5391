"""The part of the page on what wears out: disks, batteries, heat. Only what was found out is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from agent.messages import say
from protocol.sections.base import Section
from protocol.sections.battery import Battery
from protocol.sections.health import DiskHealth, Health
from protocol.sections.temperatures import Temperatures

YEAR_H = 8766


def what_wears(sections: Mapping[str, Section]) -> list[str]:
    """A heading and a table; nothing where nothing is known. Names are anybody's, and escaped."""
    rows = [
        *_disks(sections.get("health")),
        *_batteries(sections.get("battery")),
        *_hottest(sections.get("temperatures")),
    ]
    return [f"<h2>{escape(say('page_parts'))}</h2><table>", *rows, "</table>"] if rows else []


def _disks(section: Section | None) -> Iterator[str]:
    if isinstance(section, Health):
        for disk in section.disks:
            state = {True: "pass", False: "fail", None: "unknown"}[disk.passed]
            yield _row(f"{disk.name} {disk.model}".strip(), state, ", ".join(_of_disk(disk)))


def _of_disk(disk: DiskHealth) -> Iterator[str]:
    if disk.asleep:
        yield say("page_asleep")
    if disk.wear_percent is not None:
        yield say("page_worn", percent=disk.wear_percent)
    if disk.power_on_hours is not None:
        yield say("page_years", years=f"{disk.power_on_hours / YEAR_H:.1f}")
    if disk.temperature_c is not None:
        yield f"{disk.temperature_c} °C"
    if bad := sum(filter(None, (disk.reallocated, disk.pending, disk.media_errors))):
        yield say("page_bad_places", count=bad)


def _batteries(section: Section | None) -> Iterator[str]:
    if isinstance(section, Battery):
        for cell in section.cells:
            words = [say("page_holds", percent=cell.health_percent)] if cell.health_percent is not None else []
            words += [say("page_cycles", count=cell.cycles)] if cell.cycles is not None else []
            state = {"good": "pass", "service": "fail"}.get(cell.condition, "unknown" if not words else "pass")
            yield _row(f"{cell.name} {cell.model}".strip(), state, ", ".join(words))


def _hottest(section: Section | None) -> Iterator[str]:
    if isinstance(section, Temperatures) and section.sensors:
        sensor = max(section.sensors, key=lambda one: one.celsius)
        critical = sensor.critical_c
        state = "warn" if critical is not None and sensor.celsius >= critical - 5 else "pass"
        words = f"{sensor.celsius} °C" + (f" / {critical} °C" if critical is not None else "")
        yield _row(f"{sensor.chip} {sensor.label}".strip(), state, words)


def _row(name: str, state: str, words: str) -> str:
    """state: of the page's style: pass, warn, fail, unknown."""
    return f'<tr><td class="{state}">{escape(name)}</td><td class="small">{escape(words)}</td></tr>'
