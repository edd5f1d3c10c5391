"""How the sections on disks' health, heat, services and events are made."""

from __future__ import annotations

from collections.abc import Sequence

from agent.facts.parsers.event_tally import merged
from agent.facts.source import LINUX, Asked, find_program
from agent.facts.sources import crashes, heat, kernel_log, service_state
from agent.facts.sources import health as sources
from protocol.sections.events import Event, Events
from protocol.sections.health import DiskHealth, Health
from protocol.sections.services import Services
from protocol.sections.temperatures import Sensor, Temperatures


def health_section(asked: Asked) -> Health:
    return Health(
        disks=tuple(sorted(_disks(asked), key=lambda disk: disk.name)),
        unavailable=asked.unavailable,
    )


def _disks(asked: Asked) -> Sequence[DiskHealth]:
    nobody: tuple[DiskHealth, ...] = ()
    if asked.platform == "win32":
        return asked.ask(sources.PHYSICAL_DISKS, nobody)
    if asked.platform in LINUX and find_program("smartctl") is None and find_program("nvme") is not None:
        return asked.ask(sources.NVME, nobody)
    devices = asked.ask(sources.SCAN, ())
    found = [asked.ask(sources.smart_of(device), None) for device in devices[: sources.MAX_DISKS]]
    return [disk for disk in found if disk is not None]


def temperatures_section(asked: Asked) -> Temperatures:
    chips = asked.ask(heat.CHIPS, ())
    sensors: tuple[Sensor, ...] = tuple(sensor for chip in chips for sensor in chip.sensors)
    if not sensors and asked.platform in LINUX:
        sensors = asked.ask(heat.ZONES, ())
        if not sensors and "thermal" not in asked.unavailable:
            asked.note("sensors", "this machine shows no sensor; virtual ones have none")
    return Temperatures(
        sensors=sensors,
        fans=tuple(fan for chip in chips for fan in chip.fans),
        throttled=asked.ask(heat.THROTTLED, None),
        under_voltage=asked.ask(heat.UNDER_VOLTAGE, None) if asked.platform in LINUX else None,
        unavailable=asked.unavailable,
    )


def services_section(asked: Asked) -> Services:
    on_windows = asked.platform == "win32"
    state = asked.ask(service_state.WINDOWS if on_windows else service_state.SYSTEMD, None)
    return Services(
        manager="" if state is None else "windows" if on_windows else "systemd",
        state=state.state if state else "",
        failed=tuple(sorted(state.failed, key=lambda service: service.name)) if state else (),
        restarting=tuple(sorted(state.restarting, key=lambda service: service.name)) if state else (),
        clock_synchronised=asked.ask(service_state.CLOCK, None),
        unavailable=asked.unavailable,
    )


def events_section(asked: Asked) -> Events:
    nothing: tuple[Event, ...] = ()
    logged = asked.ask(kernel_log.KERNEL_EVENTS, nothing)
    cores = asked.ask(crashes.CORE_FILES, nothing)
    dumps = asked.ask(crashes.KERNEL_DUMPS, None)
    starts = asked.ask(crashes.STARTS, None)
    return Events(
        events=merged(logged, cores),
        unclean_starts=starts.unclean if starts else None,
        unclean_start_at=starts.last_at if starts else None,
        kernel_dumps=dumps.count if dumps else None,
        kernel_dump_at=dumps.last_at if dumps else None,
        unavailable=asked.unavailable,
    )
