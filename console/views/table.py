"""What a device's sections look like to a person. Every value is the device's own word, escaped by render.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from console.render import print_pairs
from console.views.battery import battery_view
from console.views.connectivity import connectivity_view, outages_view
from console.views.findings import findings_view
from console.views.health import events_view, health_view, services_view, temperatures_view
from console.views.machine import cpu_view, system_view
from console.views.memory import memory_view
from console.views.modem import modem_view
from console.views.network import network_view
from console.views.router import router_view
from console.views.software import software_view
from console.views.storage import storage_view
from console.views.surroundings import devices_view, startup_view, users_view
from console.views.updates import updates_view
from console.views.wifi import wifi_view
from protocol.sections.base import Section
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


def print_section(section: Section) -> None:
    """Print one section, and what the device could not find out."""
    view = VIEWS.get(type(section))
    if view is None:
        print("this release does not know the section; --json shows it")
    else:
        view(section)
    for source, reason in section.unavailable.items():
        print_pairs([("not available", f"{source}: {reason}")])


VIEWS: Mapping[type[Section], Callable[[Any], None]] = {
    System: system_view,
    Cpu: cpu_view,
    Memory: memory_view,
    Storage: storage_view,
    Network: network_view,
    Wifi: wifi_view,
    Modems: modem_view,
    Router: router_view,
    Software: software_view,
    Updates: updates_view,
    Battery: battery_view,
    Health: health_view,
    Temperatures: temperatures_view,
    Services: services_view,
    Events: events_view,
    Devices: devices_view,
    Users: users_view,
    Startup: startup_view,
    Connectivity: connectivity_view,
    Outages: outages_view,
    Findings: findings_view,
}
