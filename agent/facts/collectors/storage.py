"""How the section on disks and what is mounted is made."""

from __future__ import annotations

from agent.facts.parsers.kernel import Mount
from agent.facts.source import LINUX, Asked, fit_text
from agent.facts.sources import storage
from protocol.sections.storage import Filesystem, Storage

MAX_FILESYSTEMS = 256


FILE_SYSTEMS = frozenset(
    {"apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs"}
    | {"jfs", "nilfs2", "ntfs", "ntfs3", "overlay", "reiserfs", "vfat", "xfs", "zfs"}
)
"""What people's files live on. overlay: the root of a container. Those of the network are left to the network: their
size is the server's, and asking one that is away may take for ever."""


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
