"""How the section on what is installed is made."""

from __future__ import annotations

from agent.facts.source import Asked
from agent.facts.sources import packages
from protocol.sections.software import Package, Software


def software_section(asked: Asked) -> Software:
    installed = asked.ask(packages.DPKG, None)
    listed: tuple[Package, ...] = installed.packages if installed else ()
    if installed and installed.truncated:
        asked.note(packages.DPKG.name, f"only the first {len(listed)} packages are listed")
    return Software(systems=("dpkg",) if installed else (), packages=listed, unavailable=asked.unavailable)
