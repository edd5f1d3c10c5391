"""Findings on what wears out: disks by their own word, memory with ECC, batteries that their system gives up."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.battery import Battery
from protocol.sections.connectivity import Evidence
from protocol.sections.events import Events
from protocol.sections.findings import Finding
from protocol.sections.health import BACKUP_FAILED, READ_ONLY, SPARE_LOW, TOO_WARM, UNRELIABLE, DiskHealth, Health
from protocol.sections.memory import Memory

YEAR_H = 8766
DAY_S = 86_400
WORN_OUT_PERCENT = 100
"""What the disk was built for: no choice of anybody's."""

MAX_NAMED = 3
"""Attributes in one evidence."""


def failing(known: Known) -> Iterator[Finding]:
    """The disk's own verdict. An NVMe disk says "failed" for any of its warnings; each has its own finding below."""
    for disk in known.of(Health).disks:
        bits = disk.critical_warning or 0
        gives_up = bool(bits & UNRELIABLE) if disk.kind == "nvme" and bits else disk.passed is False
        if gives_up or disk.failing:
            why = ", ".join(disk.failing[:MAX_NAMED]) or "SMART"
            yield Finding(code="disk-failing", severity="error", subject=disk.name, evidence=_about(disk, why=why))
        elif disk.failed_before:
            why = ", ".join(disk.failed_before[:MAX_NAMED])
            yield Finding(
                code="disk-failed-before", severity="warning", subject=disk.name, evidence=_about(disk, why=why)
            )


def warnings_of_nvme(known: Known) -> Iterator[Finding]:
    for disk in known.of(Health).disks:
        bits = disk.critical_warning or 0
        if bits & READ_ONLY:
            yield Finding(code="disk-turned-read-only", severity="error", subject=disk.name, evidence=_about(disk))
        if bits & BACKUP_FAILED:
            yield Finding(code="disk-backup-power", severity="warning", subject=disk.name, evidence=_about(disk))


def little_reserve(known: Known) -> Iterator[Finding]:
    for disk in known.of(Health).disks:
        spare, threshold = disk.spare_percent, disk.spare_threshold_percent
        used_up = bool((disk.critical_warning or 0) & SPARE_LOW)
        low = False
        if spare is not None and threshold:
            used_up = used_up or spare < threshold
            low = spare < threshold + known.thresholds.disk_spare_margin_percent and spare < 100
        if used_up or low:
            yield Finding(
                code="disk-spare-low",
                severity="error" if used_up else "warning",
                subject=disk.name,
                evidence=_about(disk, percent=spare if spare is not None else 0),
            )


def bad_sectors(known: Known) -> Iterator[Finding]:
    for disk in known.of(Health).disks:
        if disk.pending:
            evidence = _about(disk, count=disk.pending)
            yield Finding(code="disk-sectors-unreadable", severity="error", subject=disk.name, evidence=evidence)
        if disk.reallocated and disk.reallocated >= known.thresholds.disk_sectors_replaced:
            evidence = _about(disk, count=disk.reallocated)
            yield Finding(code="disk-sectors-replaced", severity="warning", subject=disk.name, evidence=evidence)
        lost = max(disk.media_errors or 0, disk.uncorrectable or 0)
        if lost:
            evidence = _about(disk, count=lost)
            yield Finding(code="disk-media-errors", severity="warning", subject=disk.name, evidence=evidence)


def worn(known: Known) -> Iterator[Finding]:
    for disk in known.of(Health).disks:
        if disk.wear_percent is None:
            continue
        evidence = _about(disk, percent=disk.wear_percent)
        if disk.wear_percent >= WORN_OUT_PERCENT:
            yield Finding(code="disk-worn-out", severity="error", subject=disk.name, evidence=evidence)
        elif disk.wear_percent >= known.thresholds.disk_wear_percent:
            yield Finding(code="disk-wearing", severity="warning", subject=disk.name, evidence=evidence)


def hot_disks(known: Known) -> Iterator[Finding]:
    limits = known.thresholds
    for disk in known.of(Health).disks:
        limit = limits.disk_hot_solid_c if disk.rotational is False else limits.disk_hot_c
        hot = disk.temperature_c is not None and disk.temperature_c >= limit
        if hot or (disk.critical_warning or 0) & TOO_WARM:
            celsius: str | int = disk.temperature_c if disk.temperature_c is not None else "?"
            yield Finding(
                code="disk-hot", severity="warning", subject=disk.name, evidence=_about(disk, celsius=celsius)
            )


def cables_and_tests(known: Known) -> Iterator[Finding]:
    for disk in known.of(Health).disks:
        if disk.crc_errors and disk.crc_errors >= known.thresholds.disk_cable_errors:
            evidence = _about(disk, count=disk.crc_errors)
            yield Finding(code="disk-cable", severity="warning", subject=disk.name, evidence=evidence)
        if disk.self_test == "failed":
            yield Finding(code="disk-self-test-failed", severity="error", subject=disk.name, evidence=_about(disk))


def old_disks(known: Known) -> Iterator[Finding]:
    """Those that turn: what wears in a solid-state disk is told by itself."""
    for disk in known.of(Health).disks:
        if disk.rotational and disk.power_on_hours is not None:
            years = disk.power_on_hours / YEAR_H
            if years >= known.thresholds.disk_old_years:
                evidence = _about(disk, years=round(years, 1))
                yield Finding(code="disk-old", severity="info", subject=disk.name, evidence=evidence)


def failing_memory(known: Known) -> Iterator[Finding]:
    """By the kernel's log, where no controller counts for us: agent.findings.rules.memory_modules has its counts."""
    if known.of(Memory).errors:
        return
    since = known.now - known.thresholds.events_days * DAY_S
    events = [e for e in known.of(Events).events if e.kind == "memory-error" and e.last_at >= since]
    corrected = sum(event.count for event in events)
    if corrected >= known.thresholds.memory_corrected_errors:
        yield Finding(code="memory-errors-corrected", severity="warning", evidence={"count": corrected})


def batteries_to_replace(known: Known) -> Iterator[Finding]:
    for cell in known.of(Battery).cells:
        if cell.condition == "service":
            yield Finding(code="battery-service", severity="warning", subject=cell.name)


def _about(disk: DiskHealth, **seen: str | int | float) -> Evidence:
    return {"disk": disk.model or disk.name, **seen}


RULES = (
    failing,
    warnings_of_nvme,
    little_reserve,
    bad_sectors,
    worn,
    hot_disks,
    cables_and_tests,
    old_disks,
    failing_memory,
    batteries_to_replace,
)
