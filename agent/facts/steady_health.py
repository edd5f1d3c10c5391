"""Keeps the sections on disks' health, heat, services, events and devices from changing all the time. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from agent.facts.coarse import coarse
from protocol.sections.base import Section
from protocol.sections.devices import Devices, Printer
from protocol.sections.events import Event, Events
from protocol.sections.health import DiskHealth, Health
from protocol.sections.services import FailedService, Services
from protocol.sections.temperatures import Fan, Sensor, Temperatures

CELSIUS_STEP = 5
HOURS_STEP = 7 * 24
"""A week: hours go on by themselves."""

WRITTEN_STEP = 64 << 30
"""Bytes: a day's work of a machine that writes much."""

LOGGED_STEP = 16
"""Entries of a disk's log. Some disks log that they were asked for something that they do not have."""

RESTARTS_STEP = 4
HOUR_S = 3600


def _optional(before: int | None, value: int | None, step: int) -> int | None:
    return None if value is None else coarse(before, value, step)


def warmth(before: int | None, celsius: int | None) -> int | None:
    """In steps of CELSIUS_STEP, and sticky by half of one."""
    if celsius is None:
        return None
    if before is not None and before - CELSIUS_STEP / 2 <= celsius < before + CELSIUS_STEP * 1.5:
        return before
    return celsius // CELSIUS_STEP * CELSIUS_STEP


def _health(before: Health | None, now: Health) -> Health:
    held = {disk.name: disk for disk in before.disks} if before is not None else {}

    def one(disk: DiskHealth) -> DiskHealth:
        old = held.get(disk.name)
        if disk.asleep and old is not None:
            return old  # what it said when it was awake; it is not woken to be asked
        return msgspec.structs.replace(
            disk,
            temperature_c=warmth(old.temperature_c if old else None, disk.temperature_c),
            power_on_hours=_optional(old.power_on_hours if old else None, disk.power_on_hours, HOURS_STEP),
            written=_optional(old.written if old else None, disk.written, WRITTEN_STEP),
            logged_errors=_optional(old.logged_errors if old else None, disk.logged_errors, LOGGED_STEP),
        )

    return msgspec.structs.replace(now, disks=tuple(map(one, now.disks)))


def _temperatures(before: Temperatures | None, now: Temperatures) -> Temperatures:
    sensors = {(s.chip, s.label): s.celsius for s in before.sensors} if before is not None else {}
    turned = {(f.chip, f.label) for f in before.fans if f.turns} if before is not None else set()

    def sensor(one: Sensor) -> Sensor:
        celsius = warmth(sensors.get((one.chip, one.label)), one.celsius)
        return one if celsius is None else msgspec.structs.replace(one, celsius=celsius)

    def fan(one: Fan) -> Fan:
        return msgspec.structs.replace(one, turns=True) if (one.chip, one.label) in turned else one

    return msgspec.structs.replace(
        now,
        sensors=tuple(map(sensor, now.sensors)),
        fans=tuple(map(fan, now.fans)),
        throttled=_optional(before.throttled if before else None, now.throttled, 1),
    )


def _services(before: Services | None, now: Services) -> Services:
    held = {s.name: s.restarts for s in (*before.failed, *before.restarting)} if before is not None else {}

    def one(service: FailedService) -> FailedService:
        return msgspec.structs.replace(
            service, restarts=_optional(held.get(service.name), service.restarts, RESTARTS_STEP)
        )

    return msgspec.structs.replace(now, failed=tuple(map(one, now.failed)), restarting=tuple(map(one, now.restarting)))


def _events(before: Events | None, now: Events) -> Events:
    held = {(event.kind, event.subject): event for event in before.events} if before is not None else {}

    def one(event: Event) -> Event:
        old = held.get((event.kind, event.subject))
        return msgspec.structs.replace(
            event, count=coarse(old.count if old else None, event.count, 1), last_at=event.last_at // HOUR_S * HOUR_S
        )

    return msgspec.structs.replace(now, events=tuple(map(one, now.events)))


def _devices(before: Devices | None, now: Devices) -> Devices:
    """A printer that prints and one that has printed are the same; one that was stopped is news."""
    held = {printer.name: printer for printer in before.printers} if before is not None else {}

    def one(printer: Printer) -> Printer:
        old = held.get(printer.name)
        if old is None:
            return printer
        works = {printer.state, old.state} <= {"idle", "printing"}
        return msgspec.structs.replace(
            printer,
            state=old.state if works else printer.state,
            waiting=coarse(old.waiting, printer.waiting, 1),
        )

    return msgspec.structs.replace(now, printers=tuple(map(one, now.printers)))


SETTLERS: dict[type[Section], Callable[..., Any]] = {
    Health: _health,
    Temperatures: _temperatures,
    Services: _services,
    Events: _events,
    Devices: _devices,
}
