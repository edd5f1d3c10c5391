"""Sources on whether disks and memory are well."""

from __future__ import annotations

from agent.facts.parsers.nvme_cli import parse_nvme_list, parse_nvme_smart_log
from agent.facts.parsers.smartctl import SmartDevice, parse_scan, parse_smartctl
from agent.facts.parsers.windows_disks import parse_physical_disks
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.command import run
from protocol.sections.health import DiskHealth

POSIX = frozenset({"linux", "darwin", "freebsd13", "freebsd14", "freebsd15"})
MAX_DISKS = 24
SCAN_S = 8.0
DISK_S = 12.0
"""For one disk: a healthy one answers in a tenth of a second, one that is dying after the kernel's own retries."""

GUESSED_TYPES = frozenset({"ata", "scsi"})
"""What a scan says of a disk that it did not open: smartctl finds out better by itself."""

NO_DISK = "smartctl finds no disk that could tell of its health; virtual ones cannot"


def _scan() -> tuple[SmartDevice, ...]:
    devices = parse_scan(run("smartctl", "--scan", "--json", deadline_s=SCAN_S).output)
    if not devices:
        raise Missing(NO_DISK)
    return devices


def smart_of(device: SmartDevice) -> Source[DiskHealth]:
    """A source of its own for each disk, since one that hangs must not hide the others. A disk that sleeps is left
    asleep (`-n standby`)."""
    name = device.path.rsplit("/", 1)[-1]
    if "," in device.type:
        name = f"{name} {device.type}"  # one of several behind a controller

    def ask() -> DiskHealth:
        types = [] if device.type in GUESSED_TYPES else ["-d", device.type]
        answer = _smart(device, name, types)
        if isinstance(answer, str) and not types and "-d option" in answer:
            answer = _smart(device, name, ["-d", "sat"])  # what nearly all USB bridges speak
        if isinstance(answer, str):
            raise Missing(answer)
        return answer

    return Source(name=f"smart {name}", ask=ask, root=True, deadline_s=2 * DISK_S)


def _smart(device: SmartDevice, name: str, types: list[str]) -> DiskHealth | str:
    words = ("--json=c", "-n", "standby", "-a", *types, device.path)
    answer = parse_smartctl(run("smartctl", *words, deadline_s=DISK_S).output, name)
    return answer.disk if answer.disk is not None else answer.reason


def _nvme_disks() -> tuple[DiskHealth, ...]:
    """By nvme-cli, where smartctl is not installed."""
    found = []
    for disk in parse_nvme_list(run("nvme", "list", "-o", "json", deadline_s=SCAN_S).output)[:MAX_DISKS]:
        log = run("nvme", "smart-log", f"/dev/{disk.name}", "-o", "json", deadline_s=SCAN_S)
        told = parse_nvme_smart_log(log.output, disk)
        if told is not None:
            found.append(told)
    if not found:
        raise Missing("nvme finds no disk that tells of its health")
    return tuple(found)


def _physical_disks() -> tuple[DiskHealth, ...]:
    words = (r"/namespace:\\root\microsoft\windows\storage", "path", "MSFT_PhysicalDisk", "get", "/value")
    return parse_physical_disks(run("wmic", *words, deadline_s=SCAN_S).output)


SCAN = Source(name="smartctl", ask=_scan, platforms=POSIX, root=True, program="smartctl", deadline_s=SCAN_S + 2)
NVME = Source(name="nvme", ask=_nvme_disks, platforms=LINUX, root=True, program="nvme", deadline_s=2 * SCAN_S)
PHYSICAL_DISKS = Source(
    name="physical_disks", ask=_physical_disks, platforms=frozenset({"win32"}), program="wmic", deadline_s=SCAN_S + 2
)
