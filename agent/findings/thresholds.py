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

    updates_pending: float = 1
    """Updates that are not for security. One is worth knowing."""

    update_lists_days: float = 14
    """Since they were fetched. Systems do it daily; after two weeks of a holiday it is caught up within a day."""

    support_ends_days: float = 90
    """Before the end. An upgrade of a fleet, or a new device, takes a quarter of a year to plan."""
    disk_wear_percent: float = 80
    """Of the writing that it was built for: a year or two are left in an office, enough to plan."""

    disk_spare_margin_percent: float = 10
    """Above what its maker calls used up: the reserve goes faster towards the end."""

    disk_sectors_replaced: float = 10
    """A few are replaced in the life of most disks; those with more fail several times as often (Backblaze, 2016)."""

    disk_cable_errors: float = 100
    """Since the disk was made, and never reset: a dozen are a plug that was moved once."""

    disk_hot_c: float = 60
    """Degrees. Makers allow disks that turn 55 to 60."""

    disk_hot_solid_c: float = 75
    """Degrees. Solid-state disks slow themselves down from about here; makers allow 70 to 80."""

    disk_old_years: float = 6
    """Of running. Makers build for five; from about six on, disks that turn fail noticeably more often."""

    too_hot_margin_c: float = 5
    """Degrees below the point where the processor switches itself off."""

    too_hot_c: float = 95
    """Degrees, where the sensor names no such point: that of most processors is 100."""

    throttled_per_hour: float = 60
    """Once a minute on average since the start: it is always too hot, and not only under load."""

    events_days: float = 7
    """How long an event of the kernel's log counts: what was a week ago is over, or comes back."""

    crashes: float = 3
    """Of one program. One is an accident, and nobody calls for help."""

    unclean_starts: float = 2
    """In 30 days. One is a plug that was pulled."""

    service_restarts: float = 10
    """systemd's own limit is five in ten seconds: this is one that goes on."""

    usb_errors: float = 5
    """A plug that is put in slowly makes one or two."""

    printer_waiting: float = 10
    """Jobs: somebody prints again and again, and nothing comes."""

    startup_programs: float = 20
    """A desktop's own are about a dozen."""

    swap_wanted_mib: float = 8 * 1024
    """Below so much memory, a system without swap ends programs when it runs short."""

    line_fresh_minutes: float = 15
    """Of the router's connection. A technician who is called wants to know that it was restarted, or fell, just now."""

    line_slow_mbps: float = 2
    """Downwards, of the line. One video call of low quality needs it whole."""

    @classmethod
    def with_changes(cls, changes: Mapping[str, float]) -> Thresholds:
        """The defaults with what a policy sets. A name that this release does not know is another release's."""
        known = {name: float(value) for name, value in changes.items() if name in cls.__struct_fields__}
        return cls(**known)
