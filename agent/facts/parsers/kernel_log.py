"""What the kernel logs when something goes wrong. Only the kernel's own lines count: anybody may write others.

The sentences are those of Linux 4.19 to 6.12; each pattern names the file of the kernel's source that prints it.
"""

from __future__ import annotations

import re

import msgspec

from agent.facts.parsers.json_values import at, number_at, read_json, text_at
from protocol.sections.events import EventKind

MAX_TEXT_CHARS = 500
"""Of a line. What is looked for stands at its beginning."""

MAX_SUBJECT_CHARS = 64
FACILITY_KERNEL = 0


class KernelLine(msgspec.Struct, frozen=True):
    """at_us: microseconds since the start (kmsg), or since 1970 (journal).  text: without its prefix."""

    at_us: int
    text: str


class Seen(msgspec.Struct, frozen=True):
    """One event: its kind, and the program or device that it is about, or ""."""

    kind: EventKind
    subject: str = ""


_HEAD = re.compile(rb"([0-9]{1,10}),([0-9]{1,20}),([0-9]{1,18}),[^;]{0,200};")


def parse_kmsg(record: bytes) -> KernelLine | None:
    """One record of /dev/kmsg; None where it is not the kernel's. Documentation/ABI/testing/dev-kmsg."""
    head = _HEAD.match(record)
    if head is None or int(head[1]) >> 3 != FACILITY_KERNEL:
        return None
    text = record[head.end() :].split(b"\n", 1)[0]
    return KernelLine(int(head[3]), _plain(text.decode("utf-8", "replace")))


def parse_journal_line(line: bytes) -> KernelLine | None:
    """One line of `journalctl -k -o json`; None where it is not the kernel's. systemd.journal-fields(7)."""
    entry = read_json(line)
    at_us = number_at(entry, "__REALTIME_TIMESTAMP")
    message = at(entry, "MESSAGE")
    if isinstance(message, list):  # bytes that are no text, as numbers
        numbers = [n for n in message[:MAX_TEXT_CHARS] if isinstance(n, int) and 0 <= n < 256]
        message = bytes(numbers).decode("utf-8", "replace")
    if at_us is None or not isinstance(message, str) or text_at(entry, "_TRANSPORT") not in ("", "kernel"):
        return None
    return KernelLine(at_us, _plain(message))


def _plain(text: str) -> str:
    return text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode("utf-8").strip()


_NAME = r"(?P<subject>[^\s\[\]()]{1,64}(?: [^\s\[\]()]{1,32}){0,3})"
_DISK = r"(?P<subject>(?:(?:sd|hd|vd|xvd)[a-z]{1,3}|nvme[0-9]+(?:n[0-9]+)?|mmcblk[0-9]+)(?:p?[0-9]+)?)\b"
_DEVICE = r"(?P<subject>[A-Za-z0-9_-]{1,32})"

_PATTERNS: tuple[tuple[EventKind, str], ...] = (
    # mm/oom_kill.c
    ("oom", rf"^Out of memory: Kill(?:ed)? process [0-9]+ \({_NAME}\)"),
    ("oom-limit", rf"^Memory cgroup out of memory: Kill(?:ed)? process [0-9]+ \({_NAME}\)"),
    # arch/x86/mm/fault.c, arch/x86/kernel/traps.c, arch/arm64/kernel/traps.c
    ("crash", rf"^{_NAME}\[[0-9]+\]: (?:segfault at|unhandled (?:signal|exception|level))"),
    ("crash", rf"^traps: {_NAME}\[[0-9]+\] (?:general protection|trap )"),
    # block/blk-core.c, fs/buffer.c
    ("disk", rf"\bI/O error, dev {_DISK}"),
    ("disk", rf"\bcritical (?:medium|target|space allocation) error, dev {_DISK}"),
    ("disk", rf"^Buffer I/O error on (?:dev|device) {_DISK}"),
    # drivers/ata/libata-eh.c
    (
        "disk",
        r"^(?P<subject>ata[0-9]{1,3})(?:\.[0-9]{2})?: (?:failed command:|exception Emask|hard resetting link failed)",
    ),
    # drivers/nvme/host/core.c, pci.c
    ("disk", r"^nvme (?P<subject>nvme[0-9]+): (?:I/O .{0,60}timeout|controller is down|Removing after probe failure)"),
    # drivers/mmc/core/block.c
    ("disk", r"^(?P<subject>mmcblk[0-9]+): .{0,40}\berror -[0-9]+"),
    # fs/ext4/super.c, fs/jbd2/journal.c
    ("filesystem", rf"^EXT[234]-fs (?:error|critical) \(device {_DEVICE}\)"),
    ("filesystem", rf"^EXT[234]-fs \({_DEVICE}\): (?:Remounting filesystem read-only|previous I/O error)"),
    ("filesystem", rf"^Aborting journal on device {_DEVICE}-[0-9]+"),
    ("filesystem", rf"^JBD2: .{{0,20}}[Ee]rror.{{0,80}} (?:for|on device) {_DEVICE}-[0-9]+"),
    # fs/xfs/xfs_message.c, fs/xfs/xfs_error.c
    (
        "filesystem",
        rf"^XFS \({_DEVICE}\): (?:Corruption|Internal error|metadata I/O error|Metadata corruption|log I/O error)",
    ),
    # fs/btrfs/super.c
    ("filesystem", rf"^BTRFS (?:error|critical|emergency) \(device {_DEVICE}"),
    # fs/fat/misc.c, fs/exfat/misc.c
    ("filesystem", rf"^(?:FAT|exFAT)-fs \({_DEVICE}\): error"),
    # arch/x86/kernel/cpu/mce/therm_throt.c; drivers/thermal/thermal_core.c
    ("throttled", r"temperature above threshold, cpu clock (?:is )?throttled"),
    ("throttled", r"^thermal thermal_zone[0-9]+: .{0,40}critical temperature reached"),
    # drivers/edac/edac_mc.c
    ("memory-error", r"^EDAC (?P<subject>MC[0-9]+): [0-9]+ [CU]E "),
    # arch/x86/kernel/cpu/mce/core.c
    ("machine-check", r"^mce: \[Hardware Error\]: (?:Machine check events logged|CPU [0-9]+: Machine Check)"),
    ("machine-check", r"^\[Hardware Error\]: (?:Machine check|.{0,40}event severity: (?:fatal|recoverable))"),
    # kernel/hung_task.c
    ("hang", rf"^INFO: task {_NAME}:[0-9]+ blocked for more than"),
    # kernel/watchdog.c, lib/bug.c, arch/x86/mm/fault.c, kernel/rcu/tree_stall.h
    ("kernel", r"^watchdog: BUG: soft lockup|hard LOCKUP"),
    ("kernel", r"^BUG: (?:unable to handle|kernel NULL pointer|Bad page state|scheduling while atomic)"),
    ("kernel", r"^kernel BUG at |^Oops: |^Internal error: Oops|^Kernel panic|^general protection fault, probably"),
    ("kernel", r"^rcu: INFO: rcu_[a-z]+ (?:self-)?detected (?:expedited )?stalls?"),
    # drivers/usb/core/hub.c
    (
        "usb",
        r"^usb (?P<subject>[0-9.-]+(?:-port[0-9]+)?): (?:device descriptor read/|device not accepting|unable to enum)",
    ),
    ("usb", r"^usb (?P<subject>usb[0-9]+-port[0-9]+): (?:unable to enumerate|Cannot enable)"),
    ("usb-power", r"^usb (?P<subject>[a-z0-9.-]+-port[0-9]+): (?:over-current (?:change|condition)|disabled by hub)"),
    # drivers/hwmon/raspberrypi-hwmon.c, drivers/firmware/raspberrypi.c
    ("under-voltage", r"\bUnder-?voltage detected"),
    # drivers/gpu/drm/amd/amdgpu/amdgpu_job.c, i915/i915_gpu_error.c; NVIDIA's Xid messages
    ("graphics", r"\b(?P<subject>amdgpu)\b.{0,80}\bring \S{1,20} timeout"),
    ("graphics", r"\b(?P<subject>i915|xe)\b.{0,60}\bGPU HANG"),
    ("graphics", r"^(?P<subject>nouveau) .{0,60}(?:fifo: fault|channel .{0,20}killed)|^NVRM: Xid"),
    # drivers/net/wireless: intel/iwlwifi, ath/ath10k, ath/ath11k, mediatek/mt76
    (
        "wifi",
        r"^(?P<subject>iwlwifi|ath1[0-2]k(?:_pci)?|mt79[0-9]{2}e|brcmfmac)\b.{0,60}"
        r"(?:Microcode SW error|firmware crashed|Firmware .{0,20}crash|chip reset|has crashed)",
    ),
)

_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _PATTERNS)
_HINT = re.compile(
    r"rror|emory|segfault|traps:|unhandled|failed|timeout|down|probe|blocked|BUG|LOCKUP|Oops|panic|protection|stall|"
    r"usb |oltage|HANG|Xid|fault|crash|reset|throttled|critical|journal|Remounting|Internal|Corruption|exception|EDAC"
)
"""One of these is in every line that a pattern matches: most lines are done with after one search."""

_NO_DISK = re.compile(r"(?:sr|fd|loop|zram|ram)[0-9]+\Z")
"""A disc with a scratch and an image that is gone are no failing disks."""


def classify(text: str) -> Seen | None:
    """What a line of the kernel tells of, if anything. The first pattern that fits counts."""
    if not _HINT.search(text):
        return None
    for kind, pattern in _COMPILED:
        found = pattern.search(text)
        if found is None:
            continue
        subject = (found.groupdict().get("subject") or "")[:MAX_SUBJECT_CHARS]
        if kind == "disk":
            subject = whole_disk(subject)
        if kind in ("disk", "filesystem") and _NO_DISK.match(subject):
            return None
        return Seen(kind, subject)
    return None


def whole_disk(name: str) -> str:
    """The disk of a partition: "sda" of "sda1", "nvme0n1" of "nvme0n1p2"."""
    if re.match(r"(?:nvme[0-9]+n[0-9]+|mmcblk[0-9]+)p[0-9]+\Z", name):
        return name.rsplit("p", 1)[0]
    return name.rstrip("0123456789") if re.match(r"(?:sd|hd|vd|xvd)[a-z]+[0-9]+\Z", name) else name


def core_name(name: str) -> str:
    """The program whose memory a file of systemd-coredump or apport holds, by the file's name; "" for another file.

    "core.firefox.1000.5c4d....1234.1700000000000000.zst", "_usr_bin_firefox.1000.crash". systemd-coredump(8).
    """
    if found := re.fullmatch(r"core\.(.{1,64})\.[0-9]+\.[0-9a-f]{32}\.[0-9]+\.[0-9]+(?:\.(?:zst|xz|lz4))?", name):
        comm = re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), found[1])
        return _plain(comm)[:MAX_SUBJECT_CHARS]
    if found := re.fullmatch(r"(_.{1,200})\.[0-9]+\.(?:crash|uploaded)", name):
        return _plain(found[1].rpartition("_")[2])[:MAX_SUBJECT_CHARS]
    return ""
