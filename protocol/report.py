"""What a device says about itself: sections, and the signed report that names them.

A section is JSON named by its SHA-256 and sent only when it changed, so what is in it changes rarely: facts, not
samples. What moves all the time (load, free memory, free space, charge) is coarse: a step of about a tenth of its
value, and it stays at one step until it has clearly left it (agent/facts/steady.py). So a section changes when
something happened and not because a minute went by. What is derived from others (uptime, memory in use) is not in it.

Every section says what it could not find out: `unavailable` maps a source to the reason. Nothing is guessed.
Numbers are bounded where they are read, so that whoever shows or compares them need not be careful.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from protocol.codec import Record, decode
from protocol.errors import BadMessage, Refused
from protocol.ids import DeviceId, OrganisationId, Sha256, parse_sha256
from protocol.keys import parse_public_line
from protocol.statement import REPORT, Signed, open_by_key

MAX_SECTION_BYTES = 4 * 1024 * 1024
"""2,000 packages are 250 KiB; ten times the largest machine that we have seen."""

MAX_REPORT_BYTES = 16 * 1024
MAX_SECTIONS = 64
MAX_ITEMS = 50_000
"""Entries of any list in a section."""


MAX_COUNT = 2**63 - 1
"""Every database holds it, and no device has more of anything."""

Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""What is counted or measured: bytes, milliseconds, packages."""

Percent = Annotated[int, Meta(ge=0, le=100)]
Instant = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""Unix seconds."""


class SectionRef(Record, frozen=True, kw_only=True):
    """sha256, size (bytes): of the section's JSON.  collected_at: Unix seconds.  cpu_ms, wall_ms: what it cost."""

    sha256: Sha256
    size: Annotated[int, Meta(ge=1, le=MAX_SECTION_BYTES)]
    collected_at: Instant
    cpu_ms: Count = 0
    wall_ms: Count = 0


class Report(Record, frozen=True, kw_only=True):
    """Signed by the device key in report@auxilio. number: rises by one; the relay keeps the highest."""

    organisation: OrganisationId
    device: DeviceId
    number: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    collected_at: Instant
    sections: dict[str, SectionRef]


class Section(Record, frozen=True, kw_only=True):
    """unavailable: what could not be found out, source to reason."""

    unavailable: dict[str, str] = {}


class System(Section, frozen=True, kw_only=True):
    """The machine and its system. booted_at: Unix seconds, to the minute; uptime is the time since.

    os_id, os_version: of os-release ("debian", "12"); os_name: for people.  family: linux, windows, macos.
    vendor, model: of the machine, from its firmware.  virtual: the container or hypervisor as systemd-detect-virt(1)
    names it, "unknown" where there is one without a name, "" where there is no sign of any.
    timezone: as in the tz database, "Europe/Madrid".  agent: its version.
    """

    hostname: str = ""
    family: str = ""
    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    os_like: tuple[str, ...] = ()
    kernel: str = ""
    architecture: str = ""
    vendor: str = ""
    model: str = ""
    virtual: str = ""
    timezone: str = ""
    booted_at: Instant | None = None
    agent: str = ""


class Cpu(Section, frozen=True, kw_only=True):
    """cores: physical.  threads: logical.  max_mhz: megahertz, the most that the system allows, else as it is rated.
    load_15m: runnable threads over 15 minutes, coarse."""

    model: str = ""
    cores: Count | None = None
    threads: Count | None = None
    max_mhz: Count | None = None
    load_15m: Annotated[float, Meta(ge=0, le=1e6)] | None = None


class Memory(Section, frozen=True, kw_only=True):
    """Bytes. total and swap_total are exact, available and swap_used coarse.

    available: what programs may still take without swapping.
    """

    total: Count | None = None
    available: Count | None = None
    swap_total: Count | None = None
    swap_used: Count | None = None

    @property
    def used(self) -> int | None:
        """Bytes, as free(1) counts them: total without available."""
        if self.total is None or self.available is None:
            return None
        return max(0, self.total - self.available)


class Disk(Record, frozen=True, kw_only=True):
    """A physical disk. size: bytes, 0 for a reader without a card.  rotational: True for platters, None where the
    system does not say.  read_only: by a switch, or because it failed."""

    name: str
    model: str = ""
    size: Count | None = None
    rotational: bool | None = None
    removable: bool = False
    read_only: bool = False


class Filesystem(Record, frozen=True, kw_only=True):
    """A mounted file system on a disk. size: bytes, exact.  available: bytes that accounts without privilege may still
    fill, coarse.  inodes_used_percent: None where it has no fixed number of them."""

    mount: str
    device: str
    type: str
    size: Count
    available: Count
    read_only: bool = False
    inodes_used_percent: Percent | None = None

    @property
    def used(self) -> int:
        """Bytes, those kept back for root among them."""
        return max(0, self.size - self.available)


class Storage(Section, frozen=True, kw_only=True):
    disks: tuple[Disk, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()


class Interface(Record, frozen=True, kw_only=True):
    """addresses: with prefix length, "192.0.2.4/24".  kind: ethernet, wifi, cellular, loopback, virtual or "".

    up: administratively and in carrier.  mtu: bytes.  speed_mbps: megabits a second, None where unknown.
    mac: "" where it has none.
    """

    name: str
    kind: str = ""
    up: bool = False
    mac: str = ""
    mtu: Count | None = None
    speed_mbps: Count | None = None
    addresses: tuple[str, ...] = ()


class Route(Record, frozen=True, kw_only=True):
    """A default route. family: 4 or 6.  gateway: "" where the route has none (a tunnel).  metric: lower goes first."""

    family: Annotated[int, Meta(ge=4, le=6)]
    gateway: str
    interface: str
    metric: Count = 0


class Network(Section, frozen=True, kw_only=True):
    """dns_servers: those that are asked, in order.  dns_stub: the resolver on this machine that asks them, or ""."""

    interfaces: tuple[Interface, ...] = ()
    default_routes: tuple[Route, ...] = ()
    dns_servers: tuple[str, ...] = ()
    dns_stub: str = ""
    search_domains: tuple[str, ...] = ()


class Package(Record, frozen=True, kw_only=True, array_like=True):
    """One installed package: name, version as its own packaging system writes it, architecture, source, size in KiB."""

    name: str
    version: str
    architecture: str = ""
    source: str = ""
    size_kib: Count = 0


class Software(Section, frozen=True, kw_only=True):
    """systems: the packaging systems that were asked, "dpkg".  packages: sorted by name and architecture."""

    systems: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()


class Cell(Record, frozen=True, kw_only=True):
    """One battery. percent: of what it holds now when full, coarse.  state: charging, discharging, full, idle or "".

    health_percent: what it holds when full, of what it was built for; a new one may have more than 100.
    cycles: None where it does not count them.
    """

    name: str
    model: str = ""
    percent: Percent | None = None
    state: str = ""
    health_percent: Count | None = None
    cycles: Count | None = None


class Battery(Section, frozen=True, kw_only=True):
    """The machine's own, not its mouse's. present: False on a machine without one.  mains: whether it is plugged in,
    None where unknown, and where there is no battery."""

    present: bool = False
    mains: bool | None = None
    cells: tuple[Cell, ...] = ()


SECTIONS: Mapping[str, type[Section]] = {
    "system": System,
    "cpu": Cpu,
    "memory": Memory,
    "storage": Storage,
    "network": Network,
    "software": Software,
    "battery": Battery,
}
"""The sections that this release reads, in the order in which people read them."""


def decode_section(name: str, data: bytes) -> Section:
    """A section's Struct from its bytes. An unknown name is an empty Section. Raises BadMessage."""
    section = decode(data, SECTIONS.get(name, Section), limit=MAX_SECTION_BYTES)
    for field in section.__struct_fields__:
        value = getattr(section, field)
        if isinstance(value, tuple | dict) and len(value) > MAX_ITEMS:
            raise BadMessage(f"the section {name[:40]!r} has more than {MAX_ITEMS} {field}")
    return section


def open_report(signed: Signed, *, organisation: OrganisationId, device: DeviceId, device_key: str) -> Report:
    """Return what `device`, whose public line is `device_key`, signed about itself.

    Raises Untrusted (a signature's), BadMessage, or Refused with code wrong_organisation or wrong_device.
    """
    keys = {parse_public_line(device_key).blob}
    opened = open_by_key(signed, namespace=REPORT, keys=keys, limit=MAX_REPORT_BYTES)
    report = decode(opened.payload, Report, limit=MAX_REPORT_BYTES)
    if report.organisation != organisation:
        raise Refused("the report is for another organisation", code="wrong_organisation")
    if report.device != device:
        raise Refused("the report is another device's", code="wrong_device")
    if len(report.sections) > MAX_SECTIONS:
        raise BadMessage(f"a report of {len(report.sections)} sections, where {MAX_SECTIONS} are the most")
    for name, ref in report.sections.items():
        parse_sha256(ref.sha256)
        if not (0 < len(name) <= 40 and name.isascii() and name.replace("_", "").isalnum()):
            raise BadMessage("a section's name is letters, digits and underscores")
    return report
