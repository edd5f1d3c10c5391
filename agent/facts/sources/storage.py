"""Sources on storage: physical disks, what is mounted, and how full each file system is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from agent.facts.parsers.kernel import Mount, parse_mounts
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.files import read_bytes, read_line, read_number
from protocol.sections.storage import Disk

BLOCK = Path("/sys/block")
SECTOR_BYTES = 512
"""The unit of /sys/block/*/size, whatever the disk's own sectors are."""

NOT_DISKS = ("dm-", "drbd", "fd", "loop", "md", "mtdblock", "nbd", "ram", "rbd", "sr", "zd", "zram")
"""Made of other disks, of memory, of the network, or for discs: not what a technician would replace."""

NOT_DISK_ENDS = ("boot0", "boot1", "rpmb")
"""Firmware's own corners of an eMMC chip."""

VIRTUAL_DISKS = ("vd", "xvd")
"""Of a virtual machine. The kernel calls them rotational, and their vendor is a number."""

MAX_DISKS = 256
MAX_MODEL_CHARS = 100
STATVFS_DEADLINE_S = 3.0
"""A mount whose disk or server is gone never answers; a disk that has to spin up takes longer and is said to."""


def _disks() -> tuple[Disk, ...]:
    names = [n for n in os.listdir(BLOCK) if not n.startswith(NOT_DISKS) and not n.endswith(NOT_DISK_ENDS)]
    return tuple(_disk(name) for name in sorted(names)[:MAX_DISKS])


def _disk(name: str) -> Disk:
    folder = BLOCK / name
    sectors = read_number(folder / "size")
    rotational = read_line(folder / "queue/rotational")
    virtual = name.startswith(VIRTUAL_DISKS)
    maker = read_line(folder / "device/vendor")
    if maker.startswith("0x") or maker.upper() == "ATA":
        maker = ""  # a PCI number, or the name of a protocol
    return Disk(
        name=name,
        model=" ".join(f"{maker} {read_line(folder / 'device/model')}".split())[:MAX_MODEL_CHARS],
        size=sectors * SECTOR_BYTES if sectors is not None else None,
        rotational=rotational == "1" if rotational in ("0", "1") and not virtual else None,
        removable=read_line(folder / "removable") == "1",
        read_only=read_line(folder / "ro") == "1",
    )


def _mounts_elsewhere() -> tuple[Mount, ...]:
    """Windows, macOS."""
    import psutil

    return tuple(
        Mount(p.device, os.fsencode(p.mountpoint), p.fstype.lower(), frozenset(p.opts.split(",")))
        for p in psutil.disk_partitions(all=False)
    )


class Usage(msgspec.Struct, frozen=True):
    """Bytes. available: to accounts without privilege.  inodes, inodes_free: 0 where they are not counted."""

    size: int
    available: int
    inodes: int = 0
    inodes_free: int = 0


def usage_of(mount: Mount) -> Source[Usage]:
    """How full it is. A source of its own for each, since one that hangs must not hide the others."""

    def ask() -> Usage:
        if sys.platform == "win32":
            import psutil

            used = psutil.disk_usage(os.fsdecode(mount.path))
            return Usage(size=used.total, available=used.free)
        stat = os.statvfs(mount.path)
        if stat.f_blocks == 0:
            raise Missing("it has no size")
        return Usage(
            size=stat.f_blocks * stat.f_frsize,
            available=stat.f_bavail * stat.f_frsize,
            inodes=stat.f_files,
            inodes_free=stat.f_ffree,
        )

    return Source(name=f"filesystem {mount.text}", ask=ask, deadline_s=STATVFS_DEADLINE_S)


DISKS = Source(name="disks", ask=_disks, platforms=LINUX)
MOUNTS = Source(name="mounts", ask=lambda: parse_mounts(read_bytes("/proc/self/mounts")), platforms=LINUX)
MOUNTS_ELSEWHERE = Source(name="mounts", ask=_mounts_elsewhere, platforms=frozenset({"win32", "darwin"}))
