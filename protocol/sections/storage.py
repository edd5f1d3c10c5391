"""The section on disks and what is mounted from them."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Count, Percent, Section


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
