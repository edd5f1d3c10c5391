"""How the section on what waits is made."""

from __future__ import annotations

from agent.facts.parsers.installed import MAX_UPDATES, pending
from agent.facts.source import LINUX, Asked
from agent.facts.sources import packages, restarts
from agent.facts.sources.upgrades import upgrades_of
from protocol.sections.updates import Broken, Update, Updates


def updates_section(asked: Asked) -> Updates:
    """Of every packaging system that is here and has lists of what is newer."""
    answered: list[str] = []
    found: list[Update] = []
    refreshed_at: dict[str, int] = {}
    here = [system for system in upgrades_of(asked.platform) if system.is_here()]
    for system in here:
        answer = asked.ask(system.source, None)
        if answer is None:
            continue
        answered.append(system.name)
        found += answer.updates
        if (at := system.refreshed_at()) is not None:
            refreshed_at[system.name] = at
    if not here:
        asked.note("updates", "nothing here knows of newer versions")
    broken, held = _dpkg(asked)
    reasons = asked.ask(restarts.RESTARTS_WINDOWS if asked.platform == "win32" else restarts.RESTARTS, None)
    return Updates(
        systems=tuple(answered),
        updates=pending(found).updates[:MAX_UPDATES],
        refreshed_at=refreshed_at,
        restart=None if reasons is None else bool(reasons),
        restart_for=reasons or (),
        held=held,
        broken=broken,
        unavailable=asked.unavailable,
    )


def _dpkg(asked: Asked) -> tuple[tuple[Broken, ...], tuple[str, ...]]:
    """What the list of packages says beside; it is kept from the section on software, and parsed no second time."""
    if asked.platform not in LINUX:
        return (), ()
    installed = asked.ask(packages.DPKG.source, None)
    return (installed.broken, installed.held) if installed else ((), ())
