"""From what a device said and what was signed about it, to what a selector looks at.

The same for whoever evaluates one: the device itself, the relay's search, the console's preview.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.ids import DeviceId
from protocol.sections.base import Section
from protocol.sections.findings import Findings
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.modem import Modems
from protocol.sections.software import Software
from protocol.selector import Facts, Installed

MAX_OS_NAMES = 16
SIGNAL_DBM = range(-200, 1)
"""Strengths that a receiver hears: 0 dBm is a milliwatt, and its own noise is at -174 dBm a hertz."""


def os_names(system: System) -> tuple[str, ...]:
    """From general to exact: ("linux", "debian", "debian-12")."""
    names = [system.family, *system.os_like, system.os_id]
    if system.os_id and system.os_version:
        names.append(f"{system.os_id}-{system.os_version}")
    return tuple(dict.fromkeys(name.lower() for name in names if name))[:MAX_OS_NAMES]


def installed_by_name(software: Software) -> dict[str, tuple[Installed, ...]]:
    """By name in lower case, each version once."""
    found: dict[str, set[Installed]] = {}
    for package in software.packages:
        found.setdefault(package.name.lower(), set()).add(Installed(package.version, package.system))
    return {name: tuple(sorted(versions)) for name, versions in found.items()}


def strongest_signal(modems: Section | None) -> int | None:
    """dBm, of the section `modem`. Of several modems a connection would be made by the one that hears best. What no
    receiver hears is not known."""
    levels = [modem.signal_dbm for modem in modems.modems] if isinstance(modems, Modems) else []
    return max((level for level in levels if level is not None and level in SIGNAL_DBM), default=None)


def facts_from(
    device: DeviceId,
    sections: Mapping[str, Section],
    *,
    tags: frozenset[str] | None,
    provisional: bool | None = None,
    online: bool | None = None,
) -> Facts:
    """Facts of `device`. sections: by name, decoded; a missing one is "not known".  tags: of its verified record."""
    system, memory, software, findings = (sections.get(name) for name in ("system", "memory", "software", "findings"))
    return Facts(
        id=device,
        tags=tags,
        provisional=provisional,
        online=online,
        hostname=(system.hostname or None) if isinstance(system, System) else None,
        os=os_names(system) if isinstance(system, System) else (),
        ram_bytes=memory.total if isinstance(memory, Memory) else None,
        slots_free=memory.slots_free if isinstance(memory, Memory) else None,
        signal_dbm=strongest_signal(sections.get("modem")),
        software=installed_by_name(software) if isinstance(software, Software) and software.systems else None,
        findings=frozenset(f.code for f in findings.findings) if isinstance(findings, Findings) else None,
    )
