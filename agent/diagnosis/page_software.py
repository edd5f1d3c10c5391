"""The part of the page on software and updates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from agent.messages import say
from protocol.sections.base import Section
from protocol.sections.software import Software
from protocol.sections.updates import Updates

MAX_ROWS = 60
"""Security updates in the page, folded away: whoever wants to know opens them."""


def software_part(sections: Mapping[str, Section]) -> list[str]:
    """HTML; nothing where neither section knows anything."""
    software, updates = sections.get("software"), sections.get("updates")
    rows: list[tuple[str, str]] = []
    if isinstance(software, Software) and software.systems:
        counted = Counter(package.system for package in software.packages)
        rows.append((say("page_programs"), ", ".join(f"{counted[s]} ({s})" for s in software.systems if counted[s])))
    waiting: list[str] = []
    if isinstance(updates, Updates) and updates.systems:
        rows += _rows(updates)
        waiting = [_update(u.name, u.installed, u.version) for u in updates.security[:MAX_ROWS]]
    if not rows:
        return []
    cells = [f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows]
    folded = (
        f'<details class="small"><summary>{escape(say("page_security"))}</summary><ul>{"".join(waiting)}</ul></details>'
    )
    listed = [folded] if waiting else []
    return [f"<h2>{escape(say('page_software'))}</h2><table>", *cells, "</table>", *listed]


def _rows(updates: Updates) -> list[tuple[str, str]]:
    security = len(updates.security)
    rows = [(say("page_updates"), say("page_updates_are", count=str(len(updates.updates)), security=str(security)))]
    for system, at in sorted(updates.refreshed_at.items()):
        rows.append((say("page_looked_for"), f"{_day(at)} ({system})"))
    if updates.restart:
        rows.append((say("page_restart"), ", ".join(updates.restart_for)))
    return rows


def _update(name: str, installed: str, version: str) -> str:
    return f"<li>{escape(name)}: {escape(installed)} &rarr; {escape(version)}</li>"


def _day(at: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return "-"
