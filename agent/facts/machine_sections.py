"""Sections on the machine: system, cpu, memory, battery."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from agent.facts.parsers import parse_cpuinfo_model, parse_os_release
from agent.facts.source import Asked, Missing, read_line, read_text
from protocol.report import Battery, Cell, Cpu, Memory, System

FIRMWARE = Path("/sys/class/dmi/id")
POWER_SUPPLY = Path("/sys/class/power_supply")
MEMORY_STEP = 64 * 1024 * 1024
"""Free memory moves all the time; steps of it change when something happened."""

PERCENT_STEP = 5
_FAMILIES = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}
_BLANKS = {"", "none", "default string", "to be filled by o.e.m.", "system product name", "system manufacturer"}


def system_section(release: str) -> System:
    """release: the agent's own version."""
    asked = Asked()
    osr: dict[str, str] = asked.ask("os_release", _os_release, {})
    return System(
        hostname=asked.ask("hostname", platform.node, "")[:255],
        family=_FAMILIES.get(platform.system(), platform.system().lower()),
        os_id=osr.get("ID", ""),
        os_version=osr.get("VERSION_ID", ""),
        os_name=osr.get("PRETTY_NAME", "") or platform.platform(terse=True),
        os_like=tuple(osr.get("ID_LIKE", "").split()),
        kernel=platform.release(),
        architecture=platform.machine(),
        vendor=_firmware("sys_vendor"),
        model=_firmware("product_name"),
        virtual=asked.ask("virtual", _virtual, ""),
        timezone=asked.ask("timezone", _timezone, ""),
        booted_at=asked.ask("boot_time", _booted_at, None),
        agent=release,
        unavailable=asked.unavailable,
    )


def _os_release() -> dict[str, str]:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        if os.path.exists(path):
            return parse_os_release(read_text(path))
    raise Missing("this system has no os-release file")


def _firmware(name: str) -> str:
    value = read_line(FIRMWARE / name)
    return "" if value.lower() in _BLANKS else value[:100]


def _virtual() -> str:
    """Container first: inside one, the hypervisor is not ours to see."""
    container = read_line("/run/systemd/container")
    if container:
        return container
    if os.path.exists("/.dockerenv"):
        return "docker"
    hypervisor = read_line("/sys/hypervisor/type")
    if hypervisor:
        return hypervisor
    if " hypervisor" in read_text("/proc/cpuinfo").partition("flags")[2].partition("\n")[0]:
        return (_firmware("sys_vendor") or "yes").lower()
    return ""


def _timezone() -> str:
    link = os.path.realpath("/etc/localtime")
    if "/zoneinfo/" in link:
        return link.split("/zoneinfo/", 1)[1]
    name = read_line("/etc/timezone")
    if not name:
        raise Missing("neither /etc/localtime nor /etc/timezone names a zone")
    return name


def _booted_at() -> int:
    import psutil

    return int(psutil.boot_time()) // 60 * 60


def cpu_section() -> Cpu:
    import psutil

    asked = Asked()
    frequency = asked.ask("frequency", psutil.cpu_freq, None)
    load = asked.ask("load", lambda: os.getloadavg()[2], None)
    return Cpu(
        model=asked.ask("model", lambda: parse_cpuinfo_model(read_text("/proc/cpuinfo")), "") or platform.processor(),
        cores=asked.ask("cores", lambda: psutil.cpu_count(logical=False), None),
        threads=asked.ask("threads", lambda: psutil.cpu_count(logical=True), None),
        max_mhz=round(frequency.max or frequency.current) if frequency else None,
        load_15m=round(load * 2) / 2 if load is not None else None,
        unavailable=asked.unavailable,
    )


def memory_section() -> Memory:
    import psutil

    asked = Asked()
    memory = asked.ask("memory", psutil.virtual_memory, None)
    swap = asked.ask("swap", psutil.swap_memory, None)
    return Memory(
        total=memory.total if memory else None,
        available=_step(memory.available, MEMORY_STEP) if memory else None,
        swap_total=swap.total if swap else None,
        swap_used=_step(swap.used, MEMORY_STEP) if swap else None,
        unavailable=asked.unavailable,
    )


def _step(value: int, step: int) -> int:
    return value // step * step


def battery_section() -> Battery:
    asked = Asked()
    names: list[str] = asked.ask("power_supply", lambda: sorted(os.listdir(POWER_SUPPLY)), [])
    cells = tuple(_cell(name) for name in names if read_line(POWER_SUPPLY / name / "type") == "Battery")
    mains = [read_line(POWER_SUPPLY / name / "online") for name in names]
    online = [value for value in mains if value]
    return Battery(
        present=bool(cells),
        mains=any(value != "0" for value in online) if online else None,
        cells=cells,
        unavailable=asked.unavailable,
    )


def _cell(name: str) -> Cell:
    folder = POWER_SUPPLY / name
    percent = _number(folder / "capacity")
    full = _number(folder / "energy_full") or _number(folder / "charge_full")
    design = _number(folder / "energy_full_design") or _number(folder / "charge_full_design")
    state = read_line(folder / "status").lower()
    return Cell(
        name=name,
        model=read_line(folder / "model_name")[:100],
        percent=min(100, _step(percent, PERCENT_STEP)) if percent is not None else None,
        state="idle" if state == "not charging" else state.replace("unknown", ""),
        health_percent=round(100 * full / design) if full and design else None,
        cycles=_number(folder / "cycle_count") or None,
    )


def _number(path: Path) -> int | None:
    text = read_line(path)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
