"""Findings on disks and what is mounted from them."""

from __future__ import annotations

from collections.abc import Iterator

from agent.findings.known import Known
from protocol.sections.connectivity import Evidence
from protocol.sections.findings import Finding
from protocol.sections.storage import Filesystem, Storage
from protocol.units import size_text

MIB = 1024 * 1024
SMALLEST_MIB = 512
"""Below it, a file system is a boot partition or a stick: full is how it is used."""

NOT_PEOPLE_S = ("/boot", "/efi", "/snap/")
"""Where the system alone writes."""

NEVER_WRITTEN = frozenset({"squashfs", "iso9660", "udf"})


def little_space(known: Known) -> Iterator[Finding]:
    limits = known.thresholds
    for filesystem in known.of(Storage).filesystems:
        if not _is_peoples(filesystem):
            continue
        free_mib, percent = filesystem.available / MIB, 100 * filesystem.available / filesystem.size
        if percent < limits.disk_full_percent or free_mib < limits.disk_full_mib:
            yield Finding(
                code="disk-full", severity="error", subject=filesystem.mount, evidence=_space(filesystem, percent)
            )
        elif percent < limits.disk_low_percent and free_mib < limits.disk_low_max_mib:
            yield Finding(
                code="disk-nearly-full",
                severity="warning",
                subject=filesystem.mount,
                evidence=_space(filesystem, percent),
            )


def few_inodes(known: Known) -> Iterator[Finding]:
    for filesystem in known.of(Storage).filesystems:
        used = filesystem.inodes_used_percent
        if used is not None and used >= known.thresholds.inodes_percent and not filesystem.read_only:
            yield Finding(
                code="inodes-full",
                severity="error" if used >= 100 else "warning",
                subject=filesystem.mount,
                evidence={"percent": used},
            )


def turned_read_only(known: Known) -> Iterator[Finding]:
    """The root alone: the kernel remounts it so when its disk fails. Others may be meant so."""
    for filesystem in known.of(Storage).filesystems:
        if filesystem.mount == "/" and filesystem.read_only and filesystem.type not in ("overlay", *NEVER_WRITTEN):
            yield Finding(
                code="filesystem-read-only",
                severity="error",
                subject=filesystem.mount,
                evidence={"device": filesystem.device},
            )


def _is_peoples(filesystem: Filesystem) -> bool:
    return (
        not filesystem.read_only
        and filesystem.type not in NEVER_WRITTEN
        and filesystem.size >= SMALLEST_MIB * MIB
        and not filesystem.mount.startswith(NOT_PEOPLE_S)
    )


def _space(filesystem: Filesystem, percent: float) -> Evidence:
    return {
        "available": size_text(filesystem.available),
        "size": size_text(filesystem.size),
        "percent": round(percent),
    }


RULES = (little_space, few_inodes, turned_read_only)
