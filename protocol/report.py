"""What a device says about itself: sections, and the signed report that names them.

A section is JSON named by its SHA-256 and sent only when it changed, so what is in it changes rarely: facts, not
samples. What moves all the time (load, free memory, used space) is rounded where it is collected, so that a section
changes when something happened and not because a minute went by.

Every section says what it could not find out: `unavailable` maps a source to the reason. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping

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


class SectionRef(Record, frozen=True, kw_only=True):
    """sha256, size (bytes): of the section's JSON.  collected_at: Unix seconds.  cpu_ms, wall_ms: what it cost."""

    sha256: Sha256
    size: int
    collected_at: int
    cpu_ms: int = 0
    wall_ms: int = 0


class Report(Record, frozen=True, kw_only=True):
    """Signed by the device key in report@auxilio. number: rises by one; the relay keeps the highest."""

    organisation: OrganisationId
    device: DeviceId
    number: int
    collected_at: int
    sections: dict[str, SectionRef]


class Section(Record, frozen=True, kw_only=True):
    """unavailable: what could not be found out, source to reason."""

    unavailable: dict[str, str] = {}


class System(Section, frozen=True, kw_only=True):
    """The machine and its system. booted_at: Unix seconds, to the minute.

    os_id, os_version: of os-release ("debian", "12"); os_name: for people.  family: linux, windows, macos.
    vendor, model: of the machine, from its firmware.  virtual: the hypervisor or container, "" where there is none.
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
    booted_at: int | None = None
    agent: str = ""


class Cpu(Section, frozen=True, kw_only=True):
    """cores: physical.  threads: logical.  max_mhz: megahertz.  load_15m: runnable threads, rounded to 0.5."""

    model: str = ""
    cores: int | None = None
    threads: int | None = None
    max_mhz: int | None = None
    load_15m: float | None = None


class Memory(Section, frozen=True, kw_only=True):
    """Bytes. available and swap_used are rounded down to 64 MiB; total and swap_total are exact."""

    total: int | None = None
    available: int | None = None
    swap_total: int | None = None
    swap_used: int | None = None


class Disk(Record, frozen=True, kw_only=True):
    """A physical disk. size: bytes.  rotational: True for platters, None where the system does not say."""

    name: str
    model: str = ""
    size: int | None = None
    rotational: bool | None = None
    removable: bool = False


class Filesystem(Record, frozen=True, kw_only=True):
    """A mounted file system on a disk. size: bytes.  available: bytes for accounts without privilege, rounded down to
    1/64 of size.  inodes_used_percent: 0-100, None where there are none."""

    mount: str
    device: str
    type: str
    size: int
    available: int
    read_only: bool = False
    inodes_used_percent: int | None = None


class Storage(Section, frozen=True, kw_only=True):
    disks: tuple[Disk, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()


class Interface(Record, frozen=True, kw_only=True):
    """addresses: with prefix length, "192.0.2.4/24".  kind: ethernet, wifi, cellular, loopback, virtual or "".

    up: administratively and in carrier.  mtu: bytes.  speed_mbps: megabits a second, None where unknown.
    """

    name: str
    kind: str = ""
    up: bool = False
    mac: str = ""
    mtu: int | None = None
    speed_mbps: int | None = None
    addresses: tuple[str, ...] = ()


class Route(Record, frozen=True, kw_only=True):
    """A default route. gateway: "" where the route has none (a tunnel)."""

    family: int
    gateway: str
    interface: str
    metric: int = 0


class Network(Section, frozen=True, kw_only=True):
    interfaces: tuple[Interface, ...] = ()
    default_routes: tuple[Route, ...] = ()
    dns_servers: tuple[str, ...] = ()
    search_domains: tuple[str, ...] = ()


class Package(Record, frozen=True, kw_only=True, array_like=True):
    """One installed package: name, version as its own packaging system writes it, architecture, source, size in KiB."""

    name: str
    version: str
    architecture: str = ""
    source: str = ""
    size_kib: int = 0


class Software(Section, frozen=True, kw_only=True):
    """systems: the packaging systems that were asked, "dpkg".  packages: sorted by name and architecture."""

    systems: tuple[str, ...] = ()
    packages: tuple[Package, ...] = ()


class Cell(Record, frozen=True, kw_only=True):
    """One battery. percent: 0-100 in steps of 5.  state: charging, discharging, full, idle or "".

    health_percent: full capacity of what it was built for.  cycles: None where it does not count them.
    """

    name: str
    model: str = ""
    percent: int | None = None
    state: str = ""
    health_percent: int | None = None
    cycles: int | None = None


class Battery(Section, frozen=True, kw_only=True):
    """present: False on a machine without one.  mains: whether it is plugged in, None where unknown."""

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
    if report.number < 1 or len(report.sections) > MAX_SECTIONS:
        raise BadMessage("a report's number or its count of sections is out of bounds")
    for name, ref in report.sections.items():
        parse_sha256(ref.sha256)
        if not (0 < len(name) <= 40 and name.isascii() and name.replace("_", "").isalnum()):
            raise BadMessage("a section's name is letters, digits and underscores")
        if not 0 < ref.size <= MAX_SECTION_BYTES:
            raise BadMessage(f"the section {name} is out of bounds")
    return report
