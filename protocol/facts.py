"""From what a device said and what was signed about it, to what a selector looks at.

The same for whoever evaluates one: the device itself, the relay's search, the console's preview.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.ids import DeviceId
from protocol.sections.base import Section
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.software import Software
from protocol.selector import Facts

MAX_OS_NAMES = 16


def os_names(system: System) -> tuple[str, ...]:
    """From general to exact: ("linux", "debian", "debian-12")."""
    names = [system.family, *system.os_like, system.os_id]
    if system.os_id and system.os_version:
        names.append(f"{system.os_id}-{system.os_version}")
    return tuple(dict.fromkeys(name.lower() for name in names if name))[:MAX_OS_NAMES]


def facts_from(
    device: DeviceId,
    sections: Mapping[str, Section],
    *,
    tags: frozenset[str] | None,
    provisional: bool | None = None,
    online: bool | None = None,
) -> Facts:
    """Facts of `device`. sections: by name, decoded; a missing one is "not known".  tags: of its verified record."""
    system, memory, software = (sections.get(name) for name in ("system", "memory", "software"))
    packages: Mapping[str, str] | None = None
    if isinstance(software, Software) and software.systems:
        known = [package for package in software.packages if package.version]
        # A version that is known counts, where a program that nothing manages has the same name.
        packages = {package.name.lower(): package.version for package in (*software.packages, *known)}
    return Facts(
        id=device,
        tags=tags,
        provisional=provisional,
        online=online,
        hostname=(system.hostname or None) if isinstance(system, System) else None,
        os=os_names(system) if isinstance(system, System) else (),
        ram_bytes=memory.total if isinstance(memory, Memory) else None,
        slots_free=memory.slots_free if isinstance(memory, Memory) else None,
        software=packages,
    )
