"""Which sections this release collects, and how."""

from __future__ import annotations

from collections.abc import Callable

from agent.facts.collectors.battery import battery_section
from agent.facts.collectors.health import events_section, health_section, services_section, temperatures_section
from agent.facts.collectors.machine import cpu_section, system_section
from agent.facts.collectors.memory import memory_section
from agent.facts.collectors.modem import modem_section
from agent.facts.collectors.network import network_section
from agent.facts.collectors.software import software_section
from agent.facts.collectors.storage import storage_section
from agent.facts.collectors.surroundings import devices_section, startup_section, users_section
from agent.facts.collectors.updates import updates_section
from agent.facts.collectors.wifi import wifi_section
from agent.facts.source import Asked
from protocol.sections.base import Section

Collector = Callable[[Asked], Section]


def collectors(release: str) -> dict[str, Collector]:
    """How each section of this release is collected, by name. release: the agent's own version."""
    return {
        "system": lambda asked: system_section(asked, release),
        "cpu": cpu_section,
        "memory": memory_section,
        "storage": storage_section,
        "network": network_section,
        "wifi": wifi_section,
        "modem": modem_section,
        "software": software_section,
        "updates": updates_section,
        "battery": battery_section,
        "health": health_section,
        "temperatures": temperatures_section,
        "services": services_section,
        "events": events_section,
        "devices": devices_section,
        "users": users_section,
        "startup": startup_section,
    }
