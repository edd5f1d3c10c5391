"""How the section on what is installed is made."""

from __future__ import annotations

from agent.facts.source import Asked
from agent.facts.sources import packages
from protocol.sections.software import MAX_PACKAGES, Package, Software


def software_section(asked: Asked) -> Software:
    """Of every packaging system that is here. One that is not is nothing that is missing."""
    answered: list[str] = []
    found: list[Package] = []
    for system in packages.systems_of(asked.platform):
        installed = asked.ask(system.source, None)
        if installed is None:
            continue
        answered.append(system.name)
        found += installed.packages
        if installed.truncated:
            asked.note(system.name, f"only the first {len(installed.packages)} packages are listed")
    if len(found) > MAX_PACKAGES:
        asked.note("software", f"only {MAX_PACKAGES} of {len(found)} packages are listed")
        found = sorted(found, key=_is_people_s)[:MAX_PACKAGES]  # what accounts put there hides nothing of the system's
    if not answered and not asked.unavailable:
        asked.note("software", f"no packaging system that this release knows is on this system ({asked.platform})")
    found.sort(key=lambda one: (one.name, one.architecture, one.version, one.system))
    return Software(systems=tuple(answered), packages=tuple(found), unavailable=asked.unavailable)


def _is_people_s(package: Package) -> bool:
    """Whether an account may have put it there, without being asked who it is."""
    return package.system in ("files", "homebrew") or (package.system == "flatpak" and package.source == "user")
