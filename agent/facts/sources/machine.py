"""Sources on the machine and its system."""

from __future__ import annotations

import os
import platform
import socket
import sys
from pathlib import Path

import msgspec

from agent.facts.parsers.firmware import Firmware, read_firmware
from agent.facts.parsers.kernel import CpuInfo, parse_cpuinfo
from agent.facts.parsers.os_release import OsRelease, parse_os_release
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.files import read_line, read_text

DMI = Path("/sys/class/dmi/id")
DEVICE_TREE_MODEL = Path("/proc/device-tree/model")
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")

FAMILIES = {"linux": "linux", "win32": "windows", "darwin": "macos"}


def _hostname() -> str:
    name = socket.gethostname()  # platform.node() keeps the first answer for as long as the process lives
    if not name:
        raise Missing("this machine has no name")
    return name


def _os_release() -> OsRelease:
    path = next((path for path in OS_RELEASE if os.path.exists(path)), None)
    if path is None:
        raise Missing("this system has no os-release file")
    return parse_os_release(read_text(path))


def _os_elsewhere() -> OsRelease:
    """Windows, macOS: what Python's own platform module knows."""
    if sys.platform == "darwin":
        version = platform.mac_ver()[0]
        return OsRelease(id="macos", version=version, name=f"macOS {version}".strip())
    release, version = platform.release(), platform.version()
    return OsRelease(id="windows", version=version, name=f"Windows {release}".strip())


def _firmware() -> Firmware:
    if DMI.exists():
        return read_firmware(*(read_line(DMI / name) for name in ("sys_vendor", "product_name", "product_version")))
    model = read_line(DEVICE_TREE_MODEL)
    if not model:
        raise Missing("neither SMBIOS nor a device tree describes this machine")
    return read_firmware("", model, "")


def _container() -> str:
    """What says of itself that this is a container; "" where nothing does. Source: systemd, src/basic/virt.c."""
    if name := read_line("/run/systemd/container"):
        return name
    if os.path.exists("/run/.containerenv"):
        return "podman"
    if os.path.exists("/.dockerenv"):
        return "docker"
    return "wsl" if "microsoft" in platform.release().lower() else ""


def _timezone() -> str:
    link = os.path.realpath("/etc/localtime")
    if "/zoneinfo/" in link:
        return link.split("/zoneinfo/", 1)[1].removeprefix("posix/")
    if name := read_line("/etc/timezone"):
        return name
    raise Missing("neither /etc/localtime nor /etc/timezone names a zone")


def _booted_at() -> float:
    import psutil

    return float(psutil.boot_time())


class Kernel(msgspec.Struct, frozen=True):
    """release: of the kernel, "6.1.0-28-amd64".  architecture: "x86_64"."""

    release: str
    architecture: str


class Processors(msgspec.Struct, frozen=True):
    cores: int | None
    threads: int | None


def _processors() -> Processors:
    import psutil

    return Processors(cores=psutil.cpu_count(logical=False), threads=psutil.cpu_count(logical=True))


def _max_mhz() -> int:
    """The most that the system allows. What it runs at now is no fact: it moves all the time."""
    import psutil

    frequency = psutil.cpu_freq()
    if frequency is None or not frequency.max:
        raise Missing("the system sets no frequency")
    return int(frequency.max)


def _load_15m() -> float:
    import psutil

    return float(psutil.getloadavg()[2])


class MemoryNow(msgspec.Struct, frozen=True):
    """Bytes. free: available for memory, free for swap."""

    total: int
    free: int


def _memory() -> MemoryNow:
    import psutil

    memory = psutil.virtual_memory()
    return MemoryNow(total=memory.total, free=memory.available)


def _swap() -> MemoryNow:
    import psutil

    swap = psutil.swap_memory()
    return MemoryNow(total=swap.total, free=swap.free)


HOSTNAME = Source(name="hostname", ask=_hostname)
OS_RELEASE_FILE = Source(name="os_release", ask=_os_release, platforms=LINUX)
OS_ELSEWHERE = Source(name="os_version", ask=_os_elsewhere, platforms=frozenset({"win32", "darwin"}))
KERNEL = Source(name="kernel", ask=lambda: Kernel(platform.release(), platform.machine()))
FIRMWARE = Source(name="firmware", ask=_firmware, platforms=LINUX)
CONTAINER = Source(name="container", ask=_container, platforms=LINUX)
TIMEZONE = Source(name="timezone", ask=_timezone, platforms=frozenset({"linux", "darwin"}))
BOOTED_AT = Source(name="boot_time", ask=_booted_at)
CPUINFO = Source[CpuInfo](name="cpuinfo", ask=lambda: parse_cpuinfo(read_text("/proc/cpuinfo")), platforms=LINUX)
PROCESSORS = Source(name="processors", ask=_processors)
MAX_MHZ = Source(name="frequency", ask=_max_mhz)
LOAD_15M = Source(name="load", ask=_load_15m)
MEMORY = Source(name="memory", ask=_memory)
SWAP = Source(name="swap", ask=_swap)
