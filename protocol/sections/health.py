"""The section on whether the parts that wear out are well: disks by what they say of themselves, and memory."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from protocol.codec import Record
from protocol.sections.base import Count, Percent, Section

Celsius = Annotated[int, Meta(ge=-60, le=250)]
"""Degrees. No part of a computer that still answers is colder or hotter."""

SelfTest = Literal["", "passed", "failed", "running"]

SPARE_LOW, TOO_WARM, UNRELIABLE, READ_ONLY, BACKUP_FAILED = 1, 2, 4, 8, 16
"""Bits of an NVMe disk's critical warning. NVM Express Base Specification 2.0, figure 207."""


class DiskHealth(Record, frozen=True, kw_only=True):
    """What a disk says of itself (SMART), without its serial number. None: it does not say.

    name: "sda", "nvme0".  kind: ata, nvme, scsi or "".  passed: its own verdict.  asleep: it was not woken to be
    asked.  temperature_c: coarse.  wear_percent: of the writing that it was built for, may pass 100.
    spare_percent: of the cells kept in reserve, and below which threshold its maker calls it used up.
    critical_warning: the bits above.  reallocated: sectors that were replaced.  pending: sectors that could not be
    read, and wait for being written.  uncorrectable: sectors or commands that failed for good.
    media_errors: data that was lost.  crc_errors: of the cable.  logged_errors: entries in its log.
    written: bytes in its life.  failing: attributes below their thresholds now; failed_before: once.
    """

    name: str
    model: str = ""
    kind: str = ""
    size: Count | None = None
    rotational: bool | None = None
    passed: bool | None = None
    asleep: bool = False
    temperature_c: Celsius | None = None
    power_on_hours: Count | None = None
    power_cycles: Count | None = None
    wear_percent: Count | None = None
    spare_percent: Percent | None = None
    spare_threshold_percent: Percent | None = None
    critical_warning: Count | None = None
    reallocated: Count | None = None
    pending: Count | None = None
    uncorrectable: Count | None = None
    media_errors: Count | None = None
    crc_errors: Count | None = None
    logged_errors: Count | None = None
    unsafe_shutdowns: Count | None = None
    written: Count | None = None
    failing: tuple[str, ...] = ()
    failed_before: tuple[str, ...] = ()
    self_test: SelfTest = ""


class Health(Section, frozen=True, kw_only=True):
    """What is worn out, or will be. Errors of memory are in the section on memory, slot by slot."""

    disks: tuple[DiskHealth, ...] = ()
