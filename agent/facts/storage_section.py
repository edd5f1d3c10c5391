"""The section on storage: physical disks, and the file systems that people put things on."""

from __future__ import annotations

import os
from pathlib import Path

from agent.facts.parsers import parse_mounts
from agent.facts.source import Asked, read_line, read_text
from protocol.report import Disk, Filesystem, Storage

BLOCK = Path("/sys/block")
SECTOR_BYTES = 512
"""The unit of /sys/block/*/size, whatever the disk's own sectors are."""

VIRTUAL_DISKS = ("loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd")
REAL_TYPES = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "f2fs",
        "vfat",
        "exfat",
        "ntfs",
        "ntfs3",
        "fuseblk",
        "zfs",
        "jfs",
        "reiserfs",
        "bcachefs",
        "overlay",
    ]
)
"""What files live on. overlay: the root of a container."""

AVAILABLE_STEPS = 64
MAX_FILESYSTEMS = 256


def storage_section() -> Storage:
    asked = Asked()
    return Storage(
        disks=asked.ask("disks", _disks, ()),
        filesystems=asked.ask("filesystems", _filesystems, ()),
        unavailable=asked.unavailable,
    )


def _disks() -> tuple[Disk, ...]:
    names = sorted(name for name in os.listdir(BLOCK) if not name.startswith(VIRTUAL_DISKS))
    return tuple(_disk(name) for name in names[:MAX_FILESYSTEMS])


def _disk(name: str) -> Disk:
    folder = BLOCK / name
    sectors = read_line(folder / "size")
    rotational = read_line(folder / "queue/rotational")
    return Disk(
        name=name,
        model=" ".join(f"{read_line(folder / 'device/vendor')} {read_line(folder / 'device/model')}".split())[:100],
        size=int(sectors) * SECTOR_BYTES if sectors.isdigit() else None,
        rotational=rotational == "1" if rotational in ("0", "1") else None,
        removable=read_line(folder / "removable") == "1",
    )


def _filesystems() -> tuple[Filesystem, ...]:
    found: dict[str, Filesystem] = {}
    for device, mount, type_, options in parse_mounts(read_text("/proc/self/mounts")):
        if type_ not in REAL_TYPES or device in found or len(found) >= MAX_FILESYSTEMS:
            continue  # a file system that is mounted twice (bind) is one, at its first place
        try:
            stat = os.statvfs(mount)
        except OSError:
            continue  # it went away, or is not ours to look at
        size = stat.f_blocks * stat.f_frsize
        if size == 0:
            continue
        step = max(1, size // AVAILABLE_STEPS)
        inodes = round(100 * (stat.f_files - stat.f_ffree) / stat.f_files) if stat.f_files else None
        found[device] = Filesystem(
            mount=mount,
            device=device,
            type=type_,
            size=size,
            available=stat.f_bavail * stat.f_frsize // step * step,
            read_only="ro" in options,
            inodes_used_percent=inodes,
        )
    return tuple(sorted(found.values(), key=lambda filesystem: filesystem.mount))
