"""From which value on something is a finding. The organisation's policy may set others."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Each with its reason. Percentages are whole numbers of the whole, sizes in MiB, times in days."""

    disk_full_percent: float = 2
    """Free. ext4 keeps 5 % for root; below 2 % for everybody else, saving a document fails sooner or later."""

    disk_full_mib: float = 200
    """Free, on any size of disk: an update of the system no longer fits."""

    disk_low_percent: float = 10
    """Free. Solid-state disks get slow and file systems get fragmented from about here."""

    disk_low_max_mib: float = 20 * 1024
    """But with more than this free, a percentage says nothing: 10 % of 4 TB are 400 GB."""

    inodes_percent: float = 95
    """Used. What is left goes quickly: whatever fills them makes many small files."""

    memory_low_percent: float = 5
    """Available. The kernel's own reserve is some 2 %; below 5 % everything waits for the disk."""

    memory_small_mib: float = 3500
    """In the machine. A browser with ten pages and a system of today need 4 GB, of which graphics take a little."""

    swap_heavy_percent: float = 60
    """Of swap in use, while memory is short as well: some swapping is healthy."""

    load_per_thread: float = 2.0
    """Programs that want to run, for each that can, over 15 minutes."""

    uptime_days: float = 60
    """Updates of the kernel wait for a restart; most systems get one a month."""

    battery_worn_percent: float = 60
    """Of what it held when new. Makers call 80 % worn after two years; from 60 % people notice."""

    battery_low_percent: float = 10
    """Half an hour, on most."""

    line_fresh_minutes: float = 15
    """Of the router's connection. A technician who is called wants to know that it was restarted, or fell, just now."""

    line_slow_mbps: float = 2
    """Downwards, of the line. One video call of low quality needs it whole."""

    @classmethod
    def with_changes(cls, changes: Mapping[str, float]) -> Thresholds:
        """The defaults with what a policy sets. A name that this release does not know is another release's."""
        known = {name: float(value) for name, value in changes.items() if name in cls.__struct_fields__}
        return cls(**known)
