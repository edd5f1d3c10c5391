"""What real disks and batteries said of themselves: each recorded file has its case, and none is believed blindly."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.battery_reports import (
    parse_acpi,
    parse_acpiconf,
    parse_powercfg,
    parse_system_profiler,
    parse_upower,
)
from agent.facts.parsers.nvme_cli import parse_nvme_list, parse_nvme_smart_log
from agent.facts.parsers.power_supply import MAX_HEALTH_PERCENT, Supply
from agent.facts.parsers.smartctl import MAX_HOURS, SmartDevice, parse_scan, parse_smartctl, parse_smartctl_text
from agent.facts.parsers.windows_disks import parse_physical_disks
from protocol.codec import encode
from protocol.sections.battery import Battery, Cell
from protocol.sections.catalogue import decode_section
from protocol.sections.health import BACKUP_FAILED, DiskHealth, Health
from tests.support.samples import ROOT, sample, samples

# -- disks ----------------------------------------------------------------------------------------------------------

SMART: dict[str, dict[str, Any]] = {
    "smartctl-hgst-hus724020ale640-28.json": {
        "model": "HGST HUS724020ALE640",
        "kind": "ata",
        "passed": True,
        "rotational": True,
        "power_on_hours": 83425,
        "crc_errors": 12,
        "logged_errors": 12,
        "temperature_c": 26,
        "reallocated": 0,
    },
    "smartctl-hitachi-h109060sesun600g-10.json": {
        "model": "HITACHI H109060SESUN600G",
        "kind": "scsi",
        "passed": True,
        "media_errors": 0,
        "reallocated": 0,
        "size": 600127266816,
    },
    "smartctl-kxg60znv512g-toshiba-2.json": {"kind": "nvme", "wear_percent": 1, "spare_percent": 100, "passed": True},
    "smartctl-netdata-hdd.json": {"kind": "ata", "temperature_c": 49, "power_on_hours": 8244, "size": 18000207937536},
    "smartctl-netdata-scsi.json": {"kind": "scsi", "temperature_c": 34, "power_on_hours": 1641, "passed": True},
    "smartctl-nvme-null-intel-mempek1w032ga-nvme0.json": {"kind": "nvme", "unsafe_shutdowns": 173, "wear_percent": 1},
    "smartctl-nvme-null-samsung-mzwll3t2hajq-00005-nvme0.json": {
        "passed": False,
        "critical_warning": BACKUP_FAILED,
        "spare_threshold_percent": 10,
        "size": 3200631791616,
    },
    "smartctl-samsung-mzvl21t0hclr-00b00-23.json": {"wear_percent": 16, "written": 58195344896000, "media_errors": 0},
    "smartctl-sat-phison-driven-ssds-kingston-sa400m8120g-sda.json": {
        "rotational": False,
        "wear_percent": 2,
        "written": 398 << 30,
        "uncorrectable": 0,
    },
    "smartctl-sat-seagate-exos-x16-st16000nm001g-2kk103-sda.json": {"reallocated": 0, "written": 385165652077 * 512},
    "smartctl-sat-silicon-motion-based-ssds-ts32gmts400-sda.json": {"wear_percent": 4, "written": 30245 << 25},
    "smartctl-sat-western-digital-ultrastar-dc-hc550-wdc-wuh721816ale6l4-sdx.json": {"crc_errors": 1, "passed": True},
    "smartctl-scrutiny-smart-ata.json": {"self_test": "running", "passed": True, "temperature_c": 32},
    "smartctl-scrutiny-smart-fail2.json": {
        "passed": False,
        "reallocated": 1975,
        "pending": 8,
        "failing": ("Reallocated_Sector_Ct",),
        "logged_errors": 56,
        "self_test": "passed",
    },
    "smartctl-scrutiny-smart-megaraid1.json": {"passed": True, "reallocated": 387, "temperature_c": 36},
    "smartctl-scrutiny-smart-nvme.json": {"kind": "nvme", "power_on_hours": 2401, "size": 1024209543168},
    "smartctl-scrutiny-smart-raid.json": {"model": "Intel Raid 1 Volume", "passed": None, "temperature_c": None},
    "smartctl-scrutiny-smart-sat.json": {"passed": None, "temperature_c": 29, "reallocated": 0, "model": ""},
    "smartctl-scrutiny-smart-scsi.json": {"passed": True, "reallocated": 56, "media_errors": 0},
    "smartctl-st3500418as-12.json": {"passed": True, "reallocated": 304, "rotational": True, "power_on_hours": 44668},
    "smartctl-text-glpi-7.txt": {
        "model": "HGST HUH721212AL5200",
        "kind": "scsi",
        "rotational": True,
        "size": 11756399230976,
        "passed": None,
    },
}

OTHERS = {
    "msft-physicaldisk-latitude-7480.txt",
    "nvme-list-2.11.json",
    "nvme-smart-log-2.11.json",
    "smartctl-netdata-scan-sat.json",
}


@pytest.mark.parametrize("name", SMART)
def test_a_disk_is_told_as_it_told_itself(name: str) -> None:
    answer = parse_smartctl(sample("storage", name), "sda")
    assert answer.disk is not None and answer.reason == ""
    assert {field: getattr(answer.disk, field) for field in SMART[name]} == SMART[name]
    assert answer.disk.name == "sda" and not answer.disk.asleep


def test_a_scan_names_the_disks_and_how_they_are_reached() -> None:
    found = parse_scan(sample("storage", "smartctl-netdata-scan-sat.json"))
    assert found == (SmartDevice("/dev/sda", "sat"), SmartDevice("/dev/sdc", "sat"))
    evil = [{"name": "/dev/sda", "type": "-d"}, {"name": "--all", "type": "sat"}, {"name": "/dev/../x", "type": "a"}]
    assert parse_scan(encode({"devices": evil})) == ()


def test_nvme_cli_stands_in_for_smartctl() -> None:
    disks = parse_nvme_list(sample("storage", "nvme-list-2.11.json"))
    assert [(d.name, d.model, d.size) for d in disks] == [
        (f"nvme{n}", "Seagate FireCuda 530 ZP4000GM30023", 4000787030016) for n in range(3)
    ]
    told = parse_nvme_smart_log(sample("storage", "nvme-smart-log-2.11.json"), disks[0])
    assert told is not None
    assert (told.temperature_c, told.wear_percent, told.power_on_hours, told.passed) == (51, 30, 24424, True)
    assert parse_nvme_smart_log(b"{}", disks[0]) is None


def test_windows_says_of_its_disks_what_it_thinks_of_them() -> None:
    data = sample("storage", "msft-physicaldisk-latitude-7480.txt")
    [disk] = parse_physical_disks(data)
    assert (disk.name, disk.kind, disk.size, disk.rotational, disk.passed) == (
        "PhysicalDrive0",
        "nvme",
        512110190592,
        False,
        True,
    )
    sick = data.decode("utf-16").replace("HealthStatus=0", "HealthStatus=2")
    two = parse_physical_disks((sick + "\n\n" + sick.replace("DeviceId=0", "DeviceId=1")).encode("utf-16"))
    assert [(d.name, d.passed, d.failing) for d in two] == [
        ("PhysicalDrive0", False, ("HealthStatus",)),
        ("PhysicalDrive1", False, ("HealthStatus",)),
    ]


def test_an_error_in_place_of_values_is_the_reason_that_is_given() -> None:
    dump = sample("odd", "smartctl-failing-qemu.dump").decode()
    said = re.search(r"'smartctl-vda' => '(.*?)\n'", dump, re.DOTALL)
    assert said is not None
    assert parse_smartctl(said[1].encode(), "vda").reason == "Unable to detect device type"
    assert parse_smartctl(b"", "vda").reason == "smartctl printed nothing that can be read"


def test_rubbish_where_a_model_should_be_does_no_harm() -> None:
    """hdparm's output is none of ours; a disk that returns such bytes for its name answers smartctl as well."""
    model = sample("odd", "hdparm-binary-model.txt").decode("utf-8", "replace")
    document = encode({"model_name": model, "smart_status": {"passed": True}, "device": {"protocol": "ATA"}})
    disk = parse_smartctl(document, "sda").disk
    assert disk is not None and len(disk.model) <= 100 and "\n" not in disk.model


@pytest.mark.parametrize(
    ("message", "asleep"),
    [("Device is in STANDBY mode, exit(2)", True), ("Smartctl open device: /dev/sdb failed: No such device", False)],
)
def test_a_disk_that_sleeps_is_no_disk_that_is_gone(message: str, asleep: bool) -> None:
    document = {
        "smartctl": {"exit_status": 2, "messages": [{"string": message, "severity": "information"}]},
        "device": {"name": "/dev/sdb", "protocol": "ATA"},
    }
    answer = parse_smartctl(encode(document), "sdb")
    assert (answer.disk is not None and answer.disk.asleep) == asleep
    assert answer.reason == ("" if asleep else message)


def test_an_old_smartctl_s_verdict_is_read_from_its_text() -> None:
    text = (
        "Device Model:     WDC WD10\nSMART overall-health self-assessment test result: FAILED!\nRotation Rate: 72 rpm"
    )
    disk = parse_smartctl_text(text, "sda").disk
    assert disk is not None and (disk.passed, disk.model, disk.rotational) == (False, "WDC WD10", True)


# -- batteries ------------------------------------------------------------------------------------------------------

Parser = Callable[[bytes], tuple[Supply, ...]]


def _of_text(parse: Callable[[str], tuple[Supply, ...]]) -> Parser:
    return lambda data: parse(data.decode("utf-8", "replace"))


def _powercfg(data: bytes) -> tuple[Supply, ...]:
    return tuple(Supply(cell=cell) for cell in parse_powercfg(data))


def cell(name: str, **fields: Any) -> Supply:
    return Supply(cell=Cell(name=name, **fields))


BATTERIES: dict[str, tuple[Parser, tuple[Supply, ...]]] = {
    "acpiconf-infos-1.txt": (
        _of_text(parse_acpiconf),
        (cell("battery 0", model="DELL 242WD6B", percent=100, state="full", health_percent=95),),
    ),
    "jc-acpi-V-never-fully-discharge.txt": (
        _of_text(parse_acpi),
        (
            cell("battery 0", percent=87, state="discharging", health_percent=108),
            cell("battery 1", percent=98, state="discharging", health_percent=68),
            cell("battery 3", percent=100, state="full"),
            Supply(online=True),
            Supply(online=False),
        ),
    ),
    "jc-upower-d.txt": (_of_text(parse_upower), (Supply(online=True),)),
    "jc-upower-i-c-locale.txt": (
        _of_text(parse_upower),
        (cell("BAT0", model="NOTEBOOK BAT", percent=43, state="charging", health_percent=85),),
    ),
    "powercfg-batteryreport-notebook.xml": (
        _powercfg,
        (
            cell("00HW023", model="SMP", health_percent=83, cycles=173),
            cell("01AV406", model="SMP", health_percent=69, cycles=143),
        ),
    ),
    "sppower-10.11.txt": (
        _of_text(parse_system_profiler),
        (
            cell("battery", model="DP bq20z451", percent=75, state="discharging", cycles=552, condition="good"),
            Supply(online=False),
        ),
    ),
    "sppower-charging.txt": (
        _of_text(parse_system_profiler),
        (
            cell("battery", model="SMP bq20z451", percent=93, state="charging", cycles=125, condition="good"),
            Supply(online=True),
        ),
    ),
    "upower-enumerate-4.txt": (_of_text(parse_upower), ()),
    "upower-infos-1.txt": (
        _of_text(parse_upower),
        (cell("BAT1", model="G71C000G7210", percent=100, state="full", health_percent=76),),
    ),
    # The firmware says 88 % of design, and that it holds all of it: the worse is believed.
    "upower-infos-4.1.txt": (
        _of_text(parse_upower),
        (cell("BAT0", model="SMP-COS3.66 DELL XDY9K16", percent=51, state="discharging", health_percent=88),),
    ),
}


@pytest.mark.parametrize("name", BATTERIES)
def test_a_battery_is_told_as_its_system_tells_it(name: str) -> None:
    parse, expected = BATTERIES[name]
    assert parse(sample("battery", name)) == expected


def test_a_mac_that_asks_for_service_is_heard_and_one_without_a_battery_has_none() -> None:
    text = sample("battery", "sppower-charging.txt").decode()
    [supply, _] = parse_system_profiler(text.replace("Condition: Normal", "Condition: Service Recommended"))
    assert supply.cell is not None and supply.cell.condition == "service"
    assert parse_system_profiler("Power:\n\n    AC Charger Information:\n\n      Connected: Yes\n") == (
        Supply(online=True),
    )


# -- all ------------------------------------------------------------------------------------------------------------


def test_every_recorded_file_of_these_kinds_has_a_case() -> None:
    if not ROOT.exists():
        pytest.skip("the recorded files are not at hand")
    assert {path.name for path in samples("storage")} == set(SMART) | OTHERS
    assert {path.name for path in samples("battery")} == set(BATTERIES)


def plausible_disk(disk: DiskHealth) -> bool:
    return (
        (disk.temperature_c is None or -40 <= disk.temperature_c <= 150)
        and (disk.power_on_hours is None or disk.power_on_hours <= MAX_HOURS)
        and (disk.wear_percent is None or disk.wear_percent <= 255)
        and all(n is None or n < 2**32 for n in (disk.reallocated, disk.pending, disk.uncorrectable, disk.crc_errors))
    )


def plausible(supplies: tuple[Supply, ...]) -> bool:
    cells = [supply.cell for supply in supplies if supply.cell is not None]
    return all(
        (one.percent is None or 0 <= one.percent <= 100)
        and (one.health_percent is None or 0 < one.health_percent <= MAX_HEALTH_PERCENT)
        and (one.cycles is None or 0 < one.cycles <= 20_000)
        for one in cells
    )


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> bytes:
    """A recorded file that was cut, or of which some bytes are others."""
    files = samples(kind)
    data = draw(st.sampled_from(files)).read_bytes() if files else b""
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        data = data[:at] + draw(st.binary(max_size=12)) + data[at + draw(st.integers(0, 12)) :]
    for _ in range(draw(st.integers(0, 3))):  # numbers grow
        data = re.sub(rb"[0-9]{2,}", b"9" * draw(st.integers(1, 30)), data, count=draw(st.integers(1, 8)))
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@settings(max_examples=200, deadline=None)
@given(damaged("storage"))
def test_a_damaged_word_of_a_disk_is_a_section_or_a_reason_and_never_absurd(data: bytes) -> None:
    answer = parse_smartctl(data, "sda")
    found = [answer.disk, parse_nvme_smart_log(data, DiskHealth(name="nvme0"))]
    disks = tuple(disk for disk in (*found, *parse_nvme_list(data), *parse_physical_disks(data)) if disk is not None)
    assert answer.disk is not None or answer.reason
    assert all(map(plausible_disk, disks))
    assert all(device.path.startswith("/dev/") for device in parse_scan(data))
    section = Health(disks=disks)
    assert decode_section("health", encode(section)) == section


@settings(max_examples=200, deadline=None)
@given(damaged("battery"))
def test_a_damaged_word_of_a_battery_is_never_absurd(data: bytes) -> None:
    for parse, _ in BATTERIES.values():
        supplies = parse(data)
        assert plausible(supplies)
        section = Battery(cells=tuple(supply.cell for supply in supplies if supply.cell is not None))
        assert decode_section("battery", encode(section)) == section
