"""Findings on the machine itself: its load, its time since the last start, its battery."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.battery import Battery
from protocol.sections.findings import Finding
from protocol.sections.machine import Cpu, System

DAY_S = 86_400


def long_up(known: Known) -> Iterator[Finding]:
    system = known.of(System)
    if system.booted_at is None or system.virtual:
        return  # a server in a cloud is meant to stay up
    days = (known.now - system.booted_at) / DAY_S
    if days >= known.thresholds.uptime_days:
        yield Finding(code="uptime-long", severity="info", evidence={"days": round(days)})


def overloaded(known: Known) -> Iterator[Finding]:
    cpu = known.of(Cpu)
    if cpu.load_15m is not None and cpu.threads and cpu.load_15m >= known.thresholds.load_per_thread * cpu.threads:
        yield Finding(
            code="cpu-overload", severity="warning", evidence={"load": round(cpu.load_15m, 1), "threads": cpu.threads}
        )


def worn_battery(known: Known) -> Iterator[Finding]:
    for cell in known.of(Battery).cells:
        if cell.health_percent is not None and 0 < cell.health_percent < known.thresholds.battery_worn_percent:
            yield Finding(
                code="battery-worn", severity="warning", subject=cell.name, evidence={"percent": cell.health_percent}
            )


def empty_battery(known: Known) -> Iterator[Finding]:
    battery = known.of(Battery)
    for cell in battery.cells:
        if cell.percent is None or cell.percent > known.thresholds.battery_low_percent:
            continue
        if cell.state == "discharging":
            yield Finding(code="battery-low", severity="warning", subject=cell.name, evidence={"percent": cell.percent})
        elif battery.mains and cell.state != "charging":
            yield Finding(
                code="battery-charging-not", severity="warning", subject=cell.name, evidence={"percent": cell.percent}
            )


RULES = (long_up, overloaded, worn_battery, empty_battery)
