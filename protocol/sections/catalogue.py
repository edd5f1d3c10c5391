"""Which sections there are, and how one is read."""

from __future__ import annotations

from collections.abc import Mapping

from protocol.codec import decode
from protocol.errors import BadMessage
from protocol.sections.base import MAX_SECTION_BYTES, Section
from protocol.sections.battery import Battery
from protocol.sections.connectivity import Connectivity, Outages
from protocol.sections.devices import Devices
from protocol.sections.events import Events
from protocol.sections.findings import Findings
from protocol.sections.health import Health
from protocol.sections.machine import Cpu, System
from protocol.sections.memory import Memory
from protocol.sections.modem import Modems
from protocol.sections.network import Network
from protocol.sections.router import Router
from protocol.sections.services import Services
from protocol.sections.software import Software
from protocol.sections.startup import Startup
from protocol.sections.storage import Storage
from protocol.sections.temperatures import Temperatures
from protocol.sections.updates import Updates
from protocol.sections.users import Users
from protocol.sections.wifi import Wifi

MAX_ITEMS = 50_000
"""Entries of any list in a section."""

SECTIONS: Mapping[str, type[Section]] = {
    "system": System,
    "cpu": Cpu,
    "memory": Memory,
    "storage": Storage,
    "network": Network,
    "wifi": Wifi,
    "modem": Modems,
    "router": Router,
    "software": Software,
    "updates": Updates,
    "battery": Battery,
    "health": Health,
    "temperatures": Temperatures,
    "services": Services,
    "events": Events,
    "devices": Devices,
    "users": Users,
    "startup": Startup,
    "connectivity": Connectivity,
    "outages": Outages,
    "findings": Findings,
}
"""The sections that this release reads, in the order in which people read them."""


def decode_section(name: str, data: bytes) -> Section:
    """A section's Struct from its bytes. An unknown name is an empty Section. Raises BadMessage."""
    section = decode(data, SECTIONS.get(name, Section), limit=MAX_SECTION_BYTES)
    for field in section.__struct_fields__:
        value = getattr(section, field)
        if isinstance(value, tuple | dict) and len(value) > MAX_ITEMS:
            raise BadMessage(f"the section {name[:40]!r} has more than {MAX_ITEMS} {field}")
    return section
