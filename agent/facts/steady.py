"""Keeps what moves all the time from changing a section all the time. Pure.

A section is sent when it changed, so it may hold facts, not samples. Free memory, free space, load and charge are
both: a technician wants them, and they never stand still. So they are coarse, and sticky: a value is cut to a step of
a sixteenth of its power of two, and once said it stays until the measured one has left that step by half of another.
A machine at rest says nothing new; one that fills its disk is heard; and because the step shrinks with the value,
"almost nothing left" is as plain as "half full".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from agent.facts.coarse import coarse
from agent.facts.steady_health import SETTLERS as HEALTH_SETTLERS
from protocol.sections.base import Section
from protocol.sections.battery import Battery, Cell
from protocol.sections.connectivity import Connectivity
from protocol.sections.machine import Cpu, System
from protocol.sections.memory import Memory
from protocol.sections.modem import Bearer, Modem, Modems
from protocol.sections.router import Router
from protocol.sections.storage import Filesystem, Storage
from protocol.sections.updates import Updates
from protocol.sections.wifi import Wifi, WifiInterface

S = TypeVar("S", bound=Section)

MIB = 1024 * 1024
MEMORY_STEP = 64 * MIB
"""Bytes. Below a GiB steps do not shrink further: browsers move by this much."""

SPACE_STEP = 16 * MIB
"""Bytes of free space: below this a disk is full."""

TRAFFIC_STEP = 1024 * MIB
"""Bytes through the router: what an evening of films is."""

PERCENT_STEP = 5
LOAD_UNIT = 128
"""Load in whole numbers, of which steps are powers of two."""

LOAD_STEP = LOAD_UNIT // 2
"""Half a thread that would run."""

SIGNAL_STEP_DB = 6
"""Decibels: a hand in front of the antenna. Bars are 10 apart."""

TRAFFIC_STEP = 256 * MIB
"""Bytes of a connection: data plans are counted in gigabytes."""

NEIGHBOURS_STEP = 4
RATE_STEP = 32
"""Mbit/s of Wi-Fi, which adapts with every frame."""

MS_STEP = 5.0
"""Milliseconds by which nobody decides anything."""

LISTS_STEP_S = 86_400
"""Lists are fetched every day, or every hour: what counts is how many days ago."""

BOOT_JITTER_S = 90
"""The kernel derives the instant of boot from the clock, so it moves when the clock is set right by a little."""


def settle(before: Section | None, now: S) -> S:
    """Return `now` with what moves all the time as `before`, the same section of last time, has it where it still
    holds, else coarse."""
    handler: Callable[[S | None, S], S] | None = _SETTLERS.get(type(now))
    if handler is None:
        return now
    return handler(before if isinstance(before, type(now)) else None, now)


def _optional(before: int | None, value: int | None, least_step: int) -> int | None:
    return None if value is None else coarse(before, value, least_step)


def _system(before: System | None, now: System) -> System:
    if now.booted_at is None:
        return now
    held = before.booted_at if before is not None else None
    if held is not None and abs(now.booted_at - held) <= BOOT_JITTER_S:
        return msgspec.structs.replace(now, booted_at=held)
    return msgspec.structs.replace(now, booted_at=now.booted_at // 60 * 60)


def _cpu(before: Cpu | None, now: Cpu) -> Cpu:
    if now.load_15m is None:
        return now
    held = None if before is None or before.load_15m is None else round(before.load_15m * LOAD_UNIT)
    load = coarse(held, round(now.load_15m * LOAD_UNIT), LOAD_STEP)
    return msgspec.structs.replace(now, load_15m=load / LOAD_UNIT)


def _memory(before: Memory | None, now: Memory) -> Memory:
    before = before or Memory()
    return msgspec.structs.replace(
        now,
        available=_optional(before.available, now.available, MEMORY_STEP),
        swap_used=_optional(before.swap_used, now.swap_used, MEMORY_STEP),
        stalled_percent=_percent(before.stalled_percent, now.stalled_percent),
        stuck_percent=_percent(before.stuck_percent, now.stuck_percent),
    )


def _storage(before: Storage | None, now: Storage) -> Storage:
    held = {(f.mount, f.device, f.size): f for f in before.filesystems} if before is not None else {}

    def one(filesystem: Filesystem) -> Filesystem:
        old = held.get((filesystem.mount, filesystem.device, filesystem.size))
        percent = filesystem.inodes_used_percent
        return msgspec.structs.replace(
            filesystem,
            available=coarse(old.available if old else None, filesystem.available, SPACE_STEP),
            inodes_used_percent=_percent(old.inodes_used_percent if old else None, percent),
        )

    return msgspec.structs.replace(now, filesystems=tuple(map(one, now.filesystems)))


def _battery(before: Battery | None, now: Battery) -> Battery:
    held = {cell.name: cell for cell in before.cells} if before is not None else {}

    def one(cell: Cell) -> Cell:
        old = held.get(cell.name)
        return msgspec.structs.replace(cell, percent=_percent(old.percent if old else None, cell.percent))

    return msgspec.structs.replace(now, cells=tuple(map(one, now.cells)))


def _percent(before: int | None, value: int | None) -> int | None:
    """In steps of PERCENT_STEP; the whole is said at once, for a battery that is full and inodes that are used up."""
    if value is None or value >= 100:
        return value
    if before is not None and before < 100 and before - PERCENT_STEP / 2 <= value < before + PERCENT_STEP * 1.5:
        return before
    return value // PERCENT_STEP * PERCENT_STEP


def _connectivity(before: Connectivity | None, now: Connectivity) -> Connectivity:
    """A rung that stands as it stood keeps the evidence of then: an answer that took a millisecond more is no news."""
    held = {(rung.name, rung.state, rung.code): rung for rung in before.rungs} if before is not None else {}
    return msgspec.structs.replace(
        now,
        rungs=tuple(held.get((rung.name, rung.state, rung.code), rung) for rung in now.rungs),
        latency_ms=_about(before.latency_ms if before else None, now.latency_ms),
        jitter_ms=_about(before.jitter_ms if before else None, now.jitter_ms),
    )


def _router(before: Router | None, now: Router) -> Router:
    """Counters are coarse; the instant that the connection came up is reckoned from its age, so it wavers."""
    before = before or Router()
    since, held = now.connected_since_at, before.connected_since_at
    if since is not None and held is not None and abs(since - held) <= BOOT_JITTER_S:
        since = held
    return msgspec.structs.replace(
        now,
        connected_since_at=since,
        received=_optional(before.received, now.received, TRAFFIC_STEP),
        sent=_optional(before.sent, now.sent, TRAFFIC_STEP),
    )


def _about(before: float | None, value: float | None) -> float | None:
    """`before`, unless `value` is half of it or less, or twice as much or more, and MS_STEP away at that."""
    if value is None:
        return None
    if before is not None and (before / 2 < value < before * 2 or abs(value - before) < MS_STEP):
        return before
    return round(value, 1)


def _modems(before: Modems | None, now: Modems) -> Modems:
    held = {(modem.name, modem.by): modem for modem in before.modems} if before is not None else {}
    settled = tuple(_modem(held.get((modem.name, modem.by), Modem()), modem) for modem in now.modems)
    return msgspec.structs.replace(now, modems=settled)


def _modem(old: Modem, now: Modem) -> Modem:
    """A signal that comes or goes is news; the cell's band and figures wander while nothing happens."""
    measures = ("rssi_dbm", "rscp_dbm", "rsrp_dbm", "rsrq_db", "snr_db")
    connections = {bearer.apn: bearer for bearer in old.bearers}
    return msgspec.structs.replace(
        now,
        signal_percent=_percent(old.signal_percent, now.signal_percent),
        bearers=tuple(_bearer(connections.get(bearer.apn, Bearer()), bearer) for bearer in now.bearers),
        **{name: _near(getattr(old, name), getattr(now, name), SIGNAL_STEP_DB) for name in measures},
    )


def _bearer(old: Bearer, now: Bearer) -> Bearer:
    return msgspec.structs.replace(
        now,
        rx_bytes=_optional(old.rx_bytes, now.rx_bytes, TRAFFIC_STEP),
        tx_bytes=_optional(old.tx_bytes, now.tx_bytes, TRAFFIC_STEP),
    )


def _wifi(before: Wifi | None, now: Wifi) -> Wifi:
    held = {one.name: one for one in before.interfaces} if before is not None else {}
    settled = tuple(_wifi_interface(held.get(one.name, WifiInterface()), one) for one in now.interfaces)
    return msgspec.structs.replace(now, interfaces=settled)


def _wifi_interface(old: WifiInterface, now: WifiInterface) -> WifiInterface:
    return msgspec.structs.replace(
        now,
        signal_dbm=_near(old.signal_dbm, now.signal_dbm, SIGNAL_STEP_DB),
        noise_dbm=_near(old.noise_dbm, now.noise_dbm, SIGNAL_STEP_DB),
        signal_percent=_percent(old.signal_percent, now.signal_percent),
        rate_mbps=_optional(old.rate_mbps, now.rate_mbps, RATE_STEP),
        rx_rate_mbps=_optional(old.rx_rate_mbps, now.rx_rate_mbps, RATE_STEP),
        neighbours=_optional(old.neighbours, now.neighbours, NEIGHBOURS_STEP),
        channel_busy_percent=_near(old.channel_busy_percent, now.channel_busy_percent, 3 * PERCENT_STEP),
    )


def _near(before: int | None, value: int | None, step: int) -> int | None:
    """`before`, unless `value` is `step` away from it or more."""
    return before if before is not None and value is not None and abs(value - before) < step else value


def _updates(before: Updates | None, now: Updates) -> Updates:
    """When the lists were fetched, to the day: an earlier time stays until it is a day old."""
    held = before.refreshed_at if before is not None else {}
    kept = {
        system: held[system] if 0 <= at - held.get(system, at + 1) < LISTS_STEP_S else at
        for system, at in now.refreshed_at.items()
    }
    return msgspec.structs.replace(now, refreshed_at=kept)


_SETTLERS: dict[type[Section], Callable[..., Any]] = {
    System: _system,
    Cpu: _cpu,
    Memory: _memory,
    Storage: _storage,
    Battery: _battery,
    Modems: _modems,
    Wifi: _wifi,
    Connectivity: _connectivity,
    Updates: _updates,
    **HEALTH_SETTLERS,
    Router: _router,
}
