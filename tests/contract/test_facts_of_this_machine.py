"""What we say of this machine, and what its own tools say of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.facts.collect import Facts, collectors
from protocol.sections.base import Section
from protocol.sections.catalogue import SECTIONS, decode_section
from protocol.sections.machine import Cpu, System
from protocol.sections.memory import Memory
from protocol.sections.network import Network
from protocol.sections.software import Software
from protocol.sections.storage import Storage
from protocol.system_clock import SystemClock

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's tools")

MIB = 1024 * 1024

LEAN = """
import asyncio, json, sys
from agent.facts.collect import Facts, collectors
imported = set(sys.modules)
from protocol.system_clock import SystemClock
clock = SystemClock()
asyncio.run(Facts(collectors("1.0"), clock).collect(("memory", "software"), 0))
print(json.dumps([sorted(imported), sorted(sys.modules)]))
"""

DERIVED = ("router", "connectivity", "outages", "findings")
"""Made from the others, and the network: tests/contract/test_diagnosis.py."""


def output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout


async def sections(*names: str) -> list[Any]:
    clock = SystemClock()
    collected = await Facts(collectors("1.0"), clock).collect(names, clock.now())
    return [decode_section(section.name, section.data) for section in collected]


def kernel(path: str, field: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.split()[0].rstrip(":") == field:
            return int(line.split()[1])
    raise AssertionError(f"{path} has no {field}")


async def test_every_section_is_collected_decodes_to_itself_and_nothing_expected_is_missing() -> None:
    clock = SystemClock()
    collected = await Facts(collectors("1.0"), clock).collect(SECTIONS, 1_800_000_000.9)
    assert [section.name for section in collected] == [name for name in SECTIONS if name not in DERIVED]
    for section in collected:
        decoded: Section = decode_section(section.name, section.data)
        assert type(decoded) is SECTIONS[section.name]
        assert len(section.data) == section.ref.size and section.ref.collected_at == 1_800_000_000
        # Of a small virtual machine.
        expected = {"firmware", "frequency", "timezone", "dns_upstream", "dpkg", "restart", "updates"}
        expected |= {"memory_slots", "memory_pressure"}  # the first for root alone, the second not in every kernel
        expected |= {"smartctl", "sensors", "throttle_count", "systemd", "adjtimex", "usb", "printers", "logins"}
        expected |= {"kernel_log", "pstore", "wtmp"}
        assert set(decoded.unavailable) <= expected, decoded.unavailable


async def test_a_second_look_at_a_machine_at_rest_is_the_same_bytes() -> None:
    clock = SystemClock()
    facts = Facts(collectors("1.0"), clock)
    names = ("system", "software", "network", "storage", "battery", "health", "temperatures", "services", "devices")
    names += ("users", "startup")
    first, second = await facts.collect(names, clock.now()), await facts.collect(names, clock.now())
    assert [section.sha256 for section in first] == [section.sha256 for section in second]


async def test_memory_is_the_kernels() -> None:
    memory: Memory
    (memory,) = await sections("memory")
    assert memory.total == kernel("/proc/meminfo", "MemTotal") * 1024
    assert memory.swap_total == kernel("/proc/meminfo", "SwapTotal") * 1024
    now = kernel("/proc/meminfo", "MemAvailable") * 1024
    assert memory.available is not None and memory.used is not None
    assert abs(memory.available - now) < now / 8 + 512 * MIB


async def test_memory_is_as_much_as_free_says() -> None:
    memory: Memory
    (memory,) = await sections("memory")
    rows = {line.split()[0]: [int(word) for word in line.split()[1:]] for line in output("free", "-b").splitlines()[1:]}
    assert memory.total == rows["Mem:"][0] and memory.swap_total == rows["Swap:"][0]
    assert memory.available is not None and abs(memory.available - rows["Mem:"][5]) < rows["Mem:"][5] / 8 + 512 * MIB


async def test_processors_are_as_many_as_nproc_says() -> None:
    cpu: Cpu
    (cpu,) = await sections("cpu")
    assert cpu.threads == int(output("nproc", "--all"))
    assert cpu.cores is None or 0 < cpu.cores <= cpu.threads
    assert cpu.load_15m is not None and abs(cpu.load_15m - os.getloadavg()[2]) <= 0.5 + os.getloadavg()[2] / 8


async def test_the_system_is_the_one_that_uname_and_os_release_name() -> None:
    system: System
    (system,) = await sections("system")
    assert system.kernel == output("uname", "-r").strip()
    assert system.architecture == output("uname", "-m").strip()
    assert system.hostname == output("uname", "-n").strip()
    sourced = output("sh", "-c", '. /etc/os-release; printf "%s\\n" "$ID" "$VERSION_ID" "$PRETTY_NAME"')
    assert [system.os_id, system.os_version, system.os_name] == sourced.splitlines()
    assert system.booted_at is not None and abs(system.booted_at - kernel("/proc/stat", "btime")) <= 90
    assert system.family == "linux" and system.agent == "1.0"


async def test_software_is_what_dpkg_query_says_it_is() -> None:
    form = "${db:Status-Status}|${Package}|${Version}|${Architecture}|${source:Package}|${Installed-Size}\n"
    lines = [line.split("|") for line in output("dpkg-query", "-W", "-f", form).splitlines()]
    expected = sorted(line[1:] for line in lines if line[0] in ("installed", "triggers-pending", "triggers-awaited"))
    software: Software
    (software,) = await sections("software")
    ours = [package for package in software.packages if package.system == "dpkg"]
    said = [[p.name, p.version, p.architecture, p.source, str(p.size_kib)] for p in ours]
    assert "dpkg" in software.systems and len(said) > 50
    assert sorted(said) == [[*line[:4], line[4] or "0"] for line in expected]


async def test_interfaces_and_their_addresses_are_those_of_ip() -> None:
    network: Network
    (network,) = await sections("network")
    expected = {}
    for link in json.loads(output("ip", "-j", "addr")):
        if "master" in link and not Path("/sys/class/net", link["ifname"], "device").exists():
            continue
        addresses = {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] in ("inet", "inet6")}
        mac = link.get("address", "") if link["link_type"] == "ether" else ""
        expected[link["ifname"]] = (addresses, mac, link["mtu"], "LOWER_UP" in link["flags"] and "UP" in link["flags"])
    said = {i.name: (set(i.addresses), i.mac, i.mtu, i.up) for i in network.interfaces}
    assert said == expected
    assert next(i.kind for i in network.interfaces if i.name == "lo") == "loopback"


@pytest.mark.parametrize("family", [4, 6])
async def test_default_routes_are_those_of_ip(family: int) -> None:
    network: Network
    (network,) = await sections("network")
    routes = json.loads(output("ip", f"-{family}", "-j", "route", "show", "default") or "[]")
    expected = {(r.get("gateway", ""), r["dev"], r.get("metric", 0)) for r in routes if "dev" in r}
    assert {(r.gateway, r.interface, r.metric) for r in network.default_routes if r.family == family} == expected


async def test_disks_and_file_systems_are_those_of_lsblk_and_df() -> None:
    storage: Storage
    (storage,) = await sections("storage")
    listed = json.loads(output("lsblk", "-b", "-J", "-d", "-o", "NAME,SIZE,TYPE,RO,RM"))["blockdevices"]
    disks = {d["name"]: (int(d["size"]), d["ro"], d["rm"]) for d in listed if d["type"] == "disk"}
    said = {d.name: (d.size, d.read_only, d.removable) for d in storage.disks}
    assert said == {name: disks[name] for name in said} and said
    for filesystem in storage.filesystems:
        size, available = output("df", "-B1", "--output=size,avail", filesystem.mount).splitlines()[1].split()
        assert filesystem.size == int(size)
        assert abs(filesystem.available - int(available)) <= int(available) / 8 + 256 * MIB
    assert "/" in [filesystem.mount for filesystem in storage.filesystems]


def test_collecting_imports_nothing_heavy_and_psutil_only_when_it_is_used() -> None:
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", LEAN], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    before, after = map(set, json.loads(result.stdout))
    assert not {"asyncssh", "aiohttp", "sqlalchemy", "click", "rich"} & after
    assert "psutil" not in before and "psutil" in after


PACKAGING_TOOLS = {"apt", "apt-get", "dpkg", "dpkg-query", "dnf", "flatpak", "pacman", "rpm", "snap", "zypper"}
PROGRAMS = {"acpi", "journalctl", "lpstat", "nvme", "smartctl", "systemctl", "upower"}
"""What is asked where no file says it, a few times an hour."""


def test_collecting_starts_no_program_but_those_that_know_what_no_file_says() -> None:
    packaging = programs_started('{"software", "updates"}')
    assert {Path(name).name for name in packaging} <= PACKAGING_TOOLS
    others = programs_started('set(collectors("1.0")) - {"software", "updates"}')
    assert {Path(name).name for name in others} <= PROGRAMS and len(others) <= 8, others


def programs_started(sections: str) -> list[str]:
    """What a collection of those sections executes."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace here")
    code = LEAN.replace('("memory", "software")', sections)
    root = Path(__file__).resolve().parents[2]
    command = ["strace", "-f", "-qq", "-e", "trace=execve", sys.executable, "-c", code]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    execs = [line for line in result.stderr.splitlines() if "execve(" in line and line.endswith(" = 0")]
    found = [match for line in execs if (match := re.search(r'execve\("([^"]+)"', line))]
    return [match[1] for match in found[1:] if "/apt/" not in match[1]]
