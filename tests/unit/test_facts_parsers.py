"""What systems write, and anything else: values, never an exception, never an absurd one."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.facts.parsers.dpkg import MAX_VALUE_CHARS, parse_dpkg_status
from agent.facts.parsers.firmware import Firmware, hypervisor_name, read_firmware
from agent.facts.parsers.kernel import CpuInfo, parse_cpuinfo, parse_ipv4_routes, parse_ipv6_routes, parse_mounts
from agent.facts.parsers.os_release import OsRelease, parse_os_release
from agent.facts.parsers.power_supply import Supply, parse_supply
from agent.facts.parsers.resolv_conf import ResolvConf, parse_resolv_conf
from protocol.codec import encode
from protocol.sections.battery import Battery, Cell
from protocol.sections.catalogue import decode_section
from protocol.sections.network import Network, Route
from protocol.sections.software import MAX_PACKAGES, Software

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
status: hold ok installed
Version: 1:2.0~rc1-3
Source: held-source (2.0)
Architecture: all
Installed-Size: 4KB

Package: half
Status: install reinstreq half-installed
Version: 9

Package: waits
Status: install ok triggers-pending
Version: 3
"""

IPV4 = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    "eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    "tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n"
    "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth1\t00000000\tFFFFFFFFFF\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
)
ZERO = "0" * 32
IPV6 = (
    f"{ZERO} 00 {ZERO} 00 fe800000000000000000000000000001 00000064 00000001 00000000 00000003     eth0\n"
    f"{ZERO} 00 {ZERO} 00 {ZERO} ffffffff 00000001 00000000 00200200       lo\n"
    f"{ZERO} 00 {ZERO} 00 {ZERO} 00000400 00000001 00000000 00000001     tun0\n"
)
LAPTOP = """\
POWER_SUPPLY_NAME=BAT0
POWER_SUPPLY_TYPE=Battery
POWER_SUPPLY_STATUS=Discharging
POWER_SUPPLY_PRESENT=1
POWER_SUPPLY_CYCLE_COUNT=431
POWER_SUPPLY_ENERGY_FULL_DESIGN=57020000
POWER_SUPPLY_ENERGY_FULL=41740000
POWER_SUPPLY_ENERGY_NOW=20870000
POWER_SUPPLY_CAPACITY=50
POWER_SUPPLY_MODEL_NAME=01AV494
POWER_SUPPLY_MANUFACTURER=LGC
"""


def test_dpkgs_status_names_what_is_installed() -> None:
    installed = parse_dpkg_status(STATUS.splitlines(keepends=True))
    assert [(p.name, p.version, p.source, p.size_kib) for p in installed.packages] == [
        ("bash", "5.2.15-2+b8", "bash", 7164),
        ("held", "1:2.0~rc1-3", "held-source", 0),
        ("waits", "3", "waits", 0),
    ]
    assert not installed.truncated


def test_a_status_file_without_end_is_cut_and_said_to_be() -> None:
    stanza = "Package: p{n}\nStatus: install ok installed\nVersion: 1\n\n"
    lines = (line for n in range(MAX_PACKAGES + 5) for line in stanza.format(n=n).splitlines(keepends=True))
    installed = parse_dpkg_status(lines)
    assert installed.truncated and len(installed.packages) == MAX_PACKAGES
    long = parse_dpkg_status(["Package: " + "x" * 9999 + "\n", "Status: install ok installed\n", "Version: 1\n"])
    assert len(long.packages[0].name) == MAX_VALUE_CHARS


def test_os_release_quotes_and_escapes() -> None:
    quoted = 'NAME="Other"\nPRETTY_NAME="a \\"b\\" \\$c \\n \\\\"\n'
    text = quoted + "ID=debian\n# comment\nBAD LINE\nID_LIKE='x y'\nVERSION_ID=12\n"
    assert parse_os_release(text) == OsRelease(id="debian", version="12", name='a "b" $c \\n \\', like=("x", "y"))
    assert parse_os_release("NAME=Arch\n").name == "Arch"


def test_default_routes_of_both_families_without_those_that_reject() -> None:
    assert parse_ipv4_routes(IPV4) == (
        Route(family=4, gateway="192.0.2.1", interface="eth0", metric=100),
        Route(family=4, gateway="", interface="tun0", metric=50),
    )
    assert parse_ipv4_routes(IPV4, "big")[0].gateway == "1.2.0.192"
    assert parse_ipv6_routes(IPV6) == (
        Route(family=6, gateway="fe80::1", interface="eth0", metric=100),
        Route(family=6, gateway="", interface="tun0", metric=1024),
    )


def test_resolv_conf_keeps_addresses_in_order_and_the_last_search_line() -> None:
    text = "nameserver 9.9.9.9\nsearch a b\n#nameserver 1.1.1.1\nnameserver dns.example\n"
    text += "nameserver fe80::1%eth0\nsearch c .\n"
    assert parse_resolv_conf(text) == ResolvConf(("9.9.9.9", "fe80::1%eth0"), ("c",))


def test_a_resolver_on_this_machine_is_told_from_a_real_one() -> None:
    assert parse_resolv_conf("nameserver 127.0.0.53\n").stub == "127.0.0.53"
    assert parse_resolv_conf("nameserver ::1\n").stub == "::1"
    assert parse_resolv_conf("nameserver 127.0.0.1\nnameserver 9.9.9.9\n").stub == ""
    assert parse_resolv_conf("").stub == ""


def test_mounts_are_those_that_can_be_seen_with_their_bytes() -> None:
    data = (
        b"/dev/sda1 /mnt/my\\040disk ext4 ro,relatime 0 0\nbroken\n"
        b"/dev/sdb1 /over ext4 rw 0 0\n/dev/sdc1 /over xfs rw 0 0\n/dev/sdd1 /caf\xe9 vfat rw 0 0\n"
    )
    mounts = parse_mounts(data)
    assert [(m.device, m.path, m.type) for m in mounts] == [
        ("/dev/sda1", b"/mnt/my disk", "ext4"),
        ("/dev/sdc1", b"/over", "xfs"),
        ("/dev/sdd1", b"/caf\xe9", "vfat"),
    ]
    assert mounts[0].options == {"ro", "relatime"} and mounts[2].text == "/caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model\t\t: 142\nmodel name\t: Intel(R) Core(TM) i5-8350U CPU @ 1.70GHz\nflags\t\t: fpu vme\n",
            CpuInfo("Intel(R) Core(TM) i5-8350U CPU @ 1.70GHz", 1700, False),
        ),
        (
            "model name\t: AMD EPYC  Processor\nflags\t: fpu hypervisor\nmodel name\t: other\n",
            CpuInfo("AMD EPYC Processor", None, True),
        ),
        ("processor\t: 0\nBogoMIPS\t: 108.00\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B\n", CpuInfo()),
    ],
)
def test_cpuinfo_names_the_processor_and_not_the_board(text: str, expected: CpuInfo) -> None:
    assert parse_cpuinfo(text) == expected


def test_a_laptops_battery_has_wear_and_its_mouses_is_none_of_its_own() -> None:
    assert parse_supply("BAT0", LAPTOP).cell == Cell(
        name="BAT0", model="LGC 01AV494", percent=50, state="discharging", health_percent=73, cycles=431
    )
    assert parse_supply("hidpp_battery_0", LAPTOP + "POWER_SUPPLY_SCOPE=Device\n") == Supply()
    assert parse_supply("BAT1", LAPTOP.replace("PRESENT=1", "PRESENT=0")) == Supply()
    assert parse_supply("AC", "POWER_SUPPLY_TYPE=Mains\nPOWER_SUPPLY_ONLINE=1\n") == Supply(online=True)
    assert parse_supply("ucsi", "POWER_SUPPLY_TYPE=USB_PD\nPOWER_SUPPLY_ONLINE=0\n") == Supply(online=False)


def test_nonsense_of_a_batterys_gauge_is_not_passed_on() -> None:
    text = LAPTOP.replace("FULL=41740000", "FULL=4174000000").replace("CYCLE_COUNT=431", "CYCLE_COUNT=0")
    cell = parse_supply("BAT0", text.replace("CAPACITY=50", "CAPACITY=65535")).cell
    assert cell is not None and (cell.health_percent, cell.cycles, cell.percent) == (None, None, 100)
    charge = LAPTOP.replace("ENERGY", "CHARGE").replace("POWER_SUPPLY_CAPACITY=50\n", "").replace("Discharging", "Odd")
    cell = parse_supply("BAT0", charge).cell
    assert cell is not None and (cell.percent, cell.state, cell.health_percent) == (50, "", 73)


def test_what_makers_left_blank_is_not_a_name() -> None:
    assert read_firmware("To Be Filled By O.E.M.", "Default string", "") == Firmware()
    assert read_firmware("Dell Inc.", "Latitude 7480 ", "") == Firmware("Dell Inc.", "Latitude 7480")
    assert read_firmware("LENOVO", "20L5CTO1WW", "ThinkPad T480").model == "ThinkPad T480 (20L5CTO1WW)"
    assert read_firmware("LENOVO", "20L5CTO1WW", "1.0").model == "20L5CTO1WW"


@pytest.mark.parametrize(
    ("vendor", "product", "by_processor", "name"),
    [
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)", True, "qemu"),
        ("Microsoft Corporation", "Virtual Machine", True, "microsoft"),
        ("Microsoft Corporation", "Surface Laptop 4", False, ""),
        ("innotek GmbH", "VirtualBox", False, "oracle"),
        ("Amazon EC2", "i3.metal", False, ""),
        ("", "", True, "unknown"),
        ("Dell Inc.", "Latitude 7480", False, ""),
    ],
)
def test_a_virtual_machine_is_named_and_a_real_one_is_not(
    vendor: str, product: str, by_processor: bool, name: str
) -> None:
    assert hypervisor_name(read_firmware(vendor, product, ""), by_processor=by_processor) == name


@given(
    st.one_of(
        st.binary(max_size=600),
        st.sampled_from([STATUS, IPV4, IPV6, LAPTOP]).flatmap(
            lambda text: st.tuples(st.just(text.encode()), st.integers(0, 700), st.binary(max_size=8)).map(
                lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] + len(cut[2]) :]
            )
        ),
    )
)
def test_any_bytes_become_a_value_that_its_readers_accept(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    installed = parse_dpkg_status(text.splitlines(keepends=True))
    software = Software(systems=("dpkg",), packages=installed.packages)
    assert decode_section("software", encode(software)) == software
    resolver = parse_resolv_conf(text)
    network = Network(
        default_routes=(*parse_ipv4_routes("header\n" + text), *parse_ipv4_routes(text), *parse_ipv6_routes(text)),
        dns_servers=resolver.servers,
        dns_stub=resolver.stub,
        search_domains=resolver.search,
    )
    assert decode_section("network", encode(network)) == network
    for route in network.default_routes:
        assert not route.gateway or ipaddress.ip_address(route.gateway).version == route.family
    cell = parse_supply("BAT0", text).cell
    battery = Battery(cells=(cell,) if cell else ())
    assert decode_section("battery", encode(battery)) == battery
    for mount in parse_mounts(data):
        assert mount.path and mount.text
    assert len(encode(parse_os_release(text))) < 8000
    assert len(parse_cpuinfo(text).model) <= 256
    firmware = read_firmware(text, text, text)
    assert len(firmware.model) <= 256 and hypervisor_name(firmware, by_processor=True)
