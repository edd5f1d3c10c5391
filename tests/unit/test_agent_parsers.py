"""The texts of Linux, and any other text: values, never an exception."""

from __future__ import annotations

import asyncio
import subprocess
import threading

import psutil
from hypothesis import given
from hypothesis import strategies as st

from agent.facts import parsers
from agent.facts.collect import Facts, collectors
from agent.facts.machine_sections import battery_section, memory_section, system_section
from agent.facts.software_section import software_section
from agent.facts.source import Asked, Missing, read_text
from protocol.report import SECTIONS, Memory, Section, Software, decode_section
from protocol.system_clock import SystemClock

STATUS = """\
Package: bash
Status: install ok installed
Installed-Size: 7164
Architecture: amd64
Version: 5.2.15-2+b8
Description: GNU Bourne Again SHell
 Package: not-a-package
 .
 folded

Package: gone
Status: deinstall ok config-files
Version: 1

Package: held
Status: hold ok installed
Version: 1:2.0~rc1-3
Source: held-source (2.0)
Architecture: all

Package: half
Status: install reinstreq half-installed
Version: 9
"""


def test_dpkgs_status_names_what_is_installed() -> None:
    packages = parsers.parse_dpkg_status(STATUS.splitlines(keepends=True))
    assert [(p.name, p.version, p.source, p.size_kib) for p in packages] == [
        ("bash", "5.2.15-2+b8", "bash", 7164),
        ("held", "1:2.0~rc1-3", "held-source", 0),
    ]


def test_os_release_quotes_and_escapes() -> None:
    text = 'NAME="Debian GNU/Linux"\nID=debian\n# comment\nBAD LINE\nX="a \\"b\\" \\$c"\nY=\'q\'\n'
    values = parsers.parse_os_release(text)
    assert values == {"NAME": "Debian GNU/Linux", "ID": "debian", "X": 'a "b" $c', "Y": "q"}


def test_default_routes_of_both_families() -> None:
    v4 = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
        "tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n"
    )
    assert parsers.parse_ipv4_routes(v4) == (("192.0.2.1", "eth0", 100), ("", "tun0", 50))
    zero = "0" * 32
    v6 = (
        f"{zero} 00 {zero} 00 fe800000000000000000000000000001 00000064 00000001 00000000 00000003     eth0\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
    )
    assert parsers.parse_ipv6_routes(v6) == (("fe800000000000000000000000000001", "eth0", 100),)


def test_resolv_conf_and_mounts() -> None:
    assert parsers.parse_resolv_conf("nameserver 9.9.9.9\nsearch a b\n#x\nsearch c\n") == (("9.9.9.9",), ("c",))
    mounts = parsers.parse_mounts("/dev/sda1 /mnt/my\\040disk ext4 ro,relatime 0 0\nbroken\n")
    assert mounts == (("/dev/sda1", "/mnt/my disk", "ext4", frozenset({"ro", "relatime"})),)


@given(st.text(max_size=400))
def test_any_text_is_parsed_to_something(text: str) -> None:
    parsers.parse_dpkg_status(text.splitlines(keepends=True))
    parsers.parse_os_release(text)
    parsers.parse_resolv_conf(text)
    parsers.parse_mounts(text)
    parsers.parse_ipv4_routes("header\n" + text)
    parsers.parse_ipv6_routes(text)
    parsers.parse_cpuinfo_model(text)


def test_software_is_what_dpkg_query_says_it_is() -> None:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    expected = sorted(tuple(line.split()[1:]) for line in lines if line.startswith("installed "))
    section = software_section()
    assert sorted((p.name, p.version, p.architecture) for p in section.packages) == expected
    assert section.systems == ("dpkg",)


def test_memory_is_what_the_kernel_says_it_is() -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        total = int(next(line.split()[1] for line in file if line.startswith("MemTotal:"))) * 1024
    section = memory_section()
    assert section.total == total == psutil.virtual_memory().total
    assert section.available is not None and 0 < section.available <= total


def test_the_system_names_itself() -> None:
    section = system_section("0.1.0")
    assert section.family == "linux" and section.kernel and section.hostname and section.agent == "0.1.0"


def test_a_machine_without_a_battery_has_none() -> None:
    section = battery_section()
    assert section.present == any(cell.name for cell in section.cells)


def test_a_silent_source_gives_its_reason_and_the_others_go_on() -> None:
    asked = Asked()

    def no_answer() -> str:
        raise Missing("the modem is away")

    assert asked.ask("modem", no_answer, "") == ""
    assert asked.ask("file", lambda: read_text("/nonexistent/x"), "") == ""
    assert asked.ask("bug", lambda: str(1 // 0), "") == ""
    assert asked.unavailable["modem"] == "the modem is away"
    assert "/nonexistent/x" in asked.unavailable["file"] and "ZeroDivisionError" in asked.unavailable["bug"]


async def test_every_section_of_this_machine_is_collected_and_decodes_to_itself() -> None:
    clock = SystemClock()
    collected = await Facts(collectors("0.1.0"), clock).collect(SECTIONS, clock.now())
    assert [section.name for section in collected] == list(SECTIONS)
    for section in collected:
        assert len(section.data) == section.ref.size
        decoded = decode_section(section.name, section.data)
        assert type(decoded) is SECTIONS[section.name]
        assert section.name not in decoded.unavailable


async def test_sections_that_did_not_change_are_the_same_bytes() -> None:
    clock = SystemClock()
    facts = Facts(collectors("0.1.0"), clock)
    names = ("system", "software", "network", "storage")
    first = await facts.collect(names, clock.now())
    second = await facts.collect(names, clock.now())
    assert [section.sha256 for section in first] == [section.sha256 for section in second]


async def test_a_hung_source_is_given_up_said_and_not_asked_twice() -> None:
    release = threading.Event()
    asked: list[int] = []

    def hangs() -> Memory:
        asked.append(1)
        release.wait(60)
        return Memory()

    def raises() -> Section:
        raise OSError("sick disk")

    facts = Facts({"memory": hangs, "software": raises}, SystemClock(), deadline_s=0.05)
    memory, software = await facts.collect(("memory", "software"), 1000.0)
    assert "did not answer" in decode_section("memory", memory.data).unavailable["memory"]
    decoded = decode_section("software", software.data)
    assert isinstance(decoded, Software) and "sick disk" in decoded.unavailable["software"]
    again = (await facts.collect(("memory",), 1000.0))[0]
    assert "still waiting" in decode_section("memory", again.data).unavailable["memory"]
    assert asked == [1]
    release.set()
    while facts._hung["memory"].is_alive():
        await asyncio.sleep(0.01)
    assert decode_section("memory", (await facts.collect(("memory",), 1000.0))[0].data) == Memory()
