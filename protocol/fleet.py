"""The REST records on what a fleet has installed and what is wrong with it, between a console and a relay.

All of it is the relay's word on what devices reported. Each device comes with its signed report, whose hashes name the
sections that say so; a console that must be sure reads those. That nothing was left out, nobody but the relay can say.
"""

from __future__ import annotations

from protocol.api import Device
from protocol.codec import Count, Record
from protocol.ids import DeviceId
from protocol.sections.findings import Severity

MAX_ROWS_EACH = 20
"""Of one device on a page: of one package, nobody reads more."""

MAX_VERSIONS = 500


class PackageRow(Record, frozen=True, kw_only=True):
    """A package on a device. name, version, system, source: as in the section `software`."""

    device: DeviceId
    hostname: str
    name: str
    version: str
    system: str
    source: str = ""


class VersionCount(Record, frozen=True, kw_only=True):
    """How many of the devices have a version."""

    name: str
    version: str
    system: str
    devices: Count


class SoftwarePage(Record, frozen=True, kw_only=True):
    """GET /v1/software?package=&selector=&after=&limit=. rows: by device, MAX_ROWS_EACH of each at most.

    devices: those of the rows; fewer than `limit` where they are long.  more_rows: how many of a device were left out.
    versions: over all pages, the MAX_VERSIONS most frequent, these first; with the first page alone.  more_versions:
    how many there are besides.  next: pass as `after`, or None at the end.  total: devices over all pages.
    """

    rows: tuple[PackageRow, ...]
    devices: tuple[Device, ...]
    more_rows: dict[DeviceId, Count] = {}
    versions: tuple[VersionCount, ...] = ()
    more_versions: Count = 0
    next: str | None
    total: Count


class FindingRow(Record, frozen=True, kw_only=True):
    """A finding on a device, as in the section `findings`."""

    device: DeviceId
    hostname: str
    code: str
    severity: Severity
    subject: str = ""
    since_at: Count | None = None


class FindingCount(Record, frozen=True, kw_only=True):
    """findings: of this code and severity.  devices: that have one."""

    code: str
    severity: Severity
    findings: Count
    devices: Count


class FindingsPage(Record, frozen=True, kw_only=True):
    """GET /v1/findings?selector=&code=&severity=&after=&limit=. rows: worst first, then by code and device.

    devices: those of the rows.  counts: over all pages, the worst and most frequent first; with the first page alone.
    next: pass as `after`, or None at the end.  total: findings over all pages.
    """

    rows: tuple[FindingRow, ...]
    devices: tuple[Device, ...]
    counts: tuple[FindingCount, ...] = ()
    next: str | None
    total: Count
