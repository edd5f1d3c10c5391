"""Which sources each section asks, and how their answers become it."""

from __future__ import annotations

from collections.abc import Callable

from agent.facts.parsers.firmware import Firmware, hypervisor_name
from agent.facts.parsers.kernel import CpuInfo, Mount
from agent.facts.parsers.os_release import OsRelease
from agent.facts.parsers.resolv_conf import ResolvConf
from agent.facts.source import LINUX, Asked, fit_text
from agent.facts.sources import machine, network, packages, power, storage
from protocol.report import (
    Battery,
    Cpu,
    Filesystem,
    Memory,
    Network,
    Package,
    Route,
    Section,
    Software,
    Storage,
    System,
)

MAX_NAME_CHARS = 255
MAX_FILESYSTEMS = 256

FILE_SYSTEMS = frozenset(
    {"apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs"}
    | {"jfs", "nilfs2", "ntfs", "ntfs3", "overlay", "reiserfs", "vfat", "xfs", "zfs"}
)
"""What people's files live on. overlay: the root of a container. Those of the network are left to the network: their
size is the server's, and asking one that is away may take for ever."""

Collector = Callable[[Asked], Section]


def collectors(release: str) -> dict[str, Collector]:
    """How each section of this release is collected, by name. release: the agent's own version."""
    return {
        "system": lambda asked: system_section(asked, release),
        "cpu": cpu_section,
        "memory": memory_section,
        "storage": storage_section,
        "network": network_section,
        "software": software_section,
        "battery": battery_section,
    }


def system_section(asked: Asked, release: str) -> System:
    on_linux = asked.platform in LINUX
    os_release = asked.ask(machine.OS_RELEASE_FILE if on_linux else machine.OS_ELSEWHERE, OsRelease())
    kernel = asked.ask(machine.KERNEL, machine.Kernel("", ""))
    firmware = asked.ask(machine.FIRMWARE, Firmware())
    cpuinfo = asked.ask(machine.CPUINFO, CpuInfo())
    booted_at = asked.ask(machine.BOOTED_AT, None)
    return System(
        hostname=fit_text(asked.ask(machine.HOSTNAME, ""), MAX_NAME_CHARS),
        family=machine.FAMILIES.get(asked.platform, asked.platform),
        os_id=os_release.id,
        os_version=os_release.version,
        os_name=os_release.name,
        os_like=os_release.like,
        kernel=fit_text(kernel.release, MAX_NAME_CHARS),
        architecture=fit_text(kernel.architecture, MAX_NAME_CHARS),
        vendor=firmware.vendor,
        model=firmware.model,
        virtual=fit_text(asked.ask(machine.CONTAINER, ""), MAX_NAME_CHARS)
        or hypervisor_name(firmware, by_processor=cpuinfo.hypervisor),
        timezone=fit_text(asked.ask(machine.TIMEZONE, ""), MAX_NAME_CHARS),
        booted_at=int(booted_at) if booted_at is not None else None,
        agent=release,
        unavailable=asked.unavailable,
    )


def cpu_section(asked: Asked) -> Cpu:
    cpuinfo = asked.ask(machine.CPUINFO, CpuInfo())
    processors = asked.ask(machine.PROCESSORS, machine.Processors(None, None))
    return Cpu(
        model=cpuinfo.model,
        cores=processors.cores,
        threads=processors.threads,
        max_mhz=asked.ask(machine.MAX_MHZ, None, otherwise=cpuinfo.rated_mhz),
        load_15m=asked.ask(machine.LOAD_15M, None),
        unavailable=asked.unavailable,
    )


def memory_section(asked: Asked) -> Memory:
    memory = asked.ask(machine.MEMORY, None)
    swap = asked.ask(machine.SWAP, None)
    return Memory(
        total=memory.total if memory else None,
        available=min(memory.free, memory.total) if memory else None,
        swap_total=swap.total if swap else None,
        swap_used=max(0, swap.total - swap.free) if swap else None,
        unavailable=asked.unavailable,
    )


def storage_section(asked: Asked) -> Storage:
    mounts = asked.ask(storage.MOUNTS if asked.platform in LINUX else storage.MOUNTS_ELSEWHERE, ())
    return Storage(
        disks=asked.ask(storage.DISKS, ()),
        filesystems=tuple(sorted(_filesystems(asked, mounts), key=lambda filesystem: filesystem.mount)),
        unavailable=asked.unavailable,
    )


def _filesystems(asked: Asked, mounts: tuple[Mount, ...]) -> list[Filesystem]:
    """One of several mounts of a file system (bind mounts, subvolumes) is enough: the one with the shortest path."""
    found: list[Filesystem] = []
    devices: set[str] = set()
    for mount in sorted(mounts, key=lambda mount: len(mount.path)):
        if mount.type not in FILE_SYSTEMS or mount.device in devices:
            continue
        if len(found) == MAX_FILESYSTEMS:
            asked.note("filesystems", f"only {MAX_FILESYSTEMS} are listed")
            break
        devices.add(mount.device)
        usage = asked.ask(storage.usage_of(mount), None)
        if usage is not None:
            found.append(_filesystem(mount, usage))
    return found


def _filesystem(mount: Mount, usage: storage.Usage) -> Filesystem:
    used = usage.inodes - usage.inodes_free
    return Filesystem(
        mount=fit_text(mount.text, 4096),
        device=fit_text(mount.device, 4096),
        type=mount.type,
        size=usage.size,
        available=min(usage.available, usage.size),
        read_only="ro" in mount.options,
        inodes_used_percent=min(100, round(100 * used / usage.inodes)) if usage.inodes > 0 and used >= 0 else None,
    )


def network_section(asked: Asked) -> Network:
    nothing: tuple[Route, ...] = ()
    routes = asked.ask(network.IPV4_ROUTES, nothing) + asked.ask(network.IPV6_ROUTES, nothing)
    resolver = asked.ask(network.RESOLVER, ResolvConf())
    upstream = asked.ask(network.RESOLVER_UPSTREAM, resolver) if resolver.stub else resolver
    return Network(
        interfaces=asked.ask(network.INTERFACES, ()),
        default_routes=tuple(sorted(routes, key=lambda r: (r.family, r.metric, r.interface, r.gateway))),
        dns_servers=upstream.servers,
        dns_stub=resolver.stub,
        search_domains=resolver.search,
        unavailable=asked.unavailable,
    )


def software_section(asked: Asked) -> Software:
    installed = asked.ask(packages.DPKG, None)
    listed: tuple[Package, ...] = installed.packages if installed else ()
    if installed and installed.truncated:
        asked.note(packages.DPKG.name, f"only the first {len(listed)} packages are listed")
    return Software(systems=("dpkg",) if installed else (), packages=listed, unavailable=asked.unavailable)


def battery_section(asked: Asked) -> Battery:
    supplies = asked.ask(power.SUPPLIES if asked.platform in LINUX else power.SUPPLIES_ELSEWHERE, ())
    cells = tuple(supply.cell for supply in supplies if supply.cell is not None)
    feeds = [supply.online for supply in supplies if supply.online is not None]
    return Battery(
        present=bool(cells),
        mains=any(feeds) if cells and feeds else None,
        cells=cells,
        unavailable=asked.unavailable,
    )
