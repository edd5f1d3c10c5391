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

    memory_pressure_percent: float = 20
    """Of five minutes in which some program waited for memory: people notice a second of every five."""

    memory_stuck_percent: float = 10
    """Of five minutes in which all of them did: nothing on the machine went on."""

    memory_expandable_mib: float = 8 * 1024
    """In the machine, up to which a free slot is worth telling: more is seldom what makes a machine slow."""

    memory_slow_percent: float = 90
    """Of the speed that modules are sold for. Makers round, and 6000 for 6400 is what processors are built for."""

    memory_missing_percent: float = 20
    """Of what is installed. Firmware, graphics and the kernel keep up to an eighth, graphics alone seldom more."""

    memory_corrected_errors: float = 10
    """Since the start. A particle from space flips a bit now and then; ten come from one weak chip."""

    load_per_thread: float = 2.0
    """Programs that want to run, for each that can, over 15 minutes."""

    uptime_days: float = 60
    """Updates of the kernel wait for a restart; most systems get one a month."""

    battery_worn_percent: float = 60
    """Of what it held when new. Makers call 80 % worn after two years; from 60 % people notice."""

    battery_low_percent: float = 10
    """Half an hour, on most."""

    sim_tries: float = 1
    """Left for the PIN. The next wrong one blocks the card, which only its PUK opens; ten wrong ones of that end it."""

    wifi_slow_mbps: float = 12
    """Of the raw rate, both ways, of which half is left: less than a video call with several people needs."""

    wifi_crowded_networks: float = 10
    """Others on channels that overlap: of 2.4 GHz' three places that do not, each has that many in a block of flats."""

    wifi_busy_percent: float = 70
    """Of the time, as the access point counts. Waiting grows steeply from two thirds on."""

    @classmethod
    def with_changes(cls, changes: Mapping[str, float]) -> Thresholds:
        """The defaults with what a policy sets. A name that this release does not know is another release's."""
        known = {name: float(value) for name, value in changes.items() if name in cls.__struct_fields__}
        return cls(**known)
