"""Rules on disks' health, heat, services, events, printers: each at its threshold, and at what recorded disks said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.facts.parsers.smartctl import parse_smartctl
from agent.findings.find import find
from agent.findings.known import Known
from agent.findings.rules import health as health_rules
from agent.findings.rules import system as system_rules
from agent.findings.thresholds import Thresholds
from protocol.codec import encode
from protocol.sections.base import Section
from protocol.sections.battery import Battery, Cell
from protocol.sections.catalogue import decode_section
from protocol.sections.devices import Devices, Printer
from protocol.sections.events import Event, Events
from protocol.sections.findings import Finding, Findings
from protocol.sections.health import BACKUP_FAILED, READ_ONLY, SPARE_LOW, TOO_WARM, UNRELIABLE, DiskHealth, Health
from protocol.sections.machine import System
from protocol.sections.memory import Memory
from protocol.sections.services import FailedService, Services
from protocol.sections.startup import Startup, StartupProgram
from protocol.sections.temperatures import Fan, Sensor, Temperatures
from tests.support.samples import sample

GIB = 1024**3
HOUR, DAY = 3600, 86_400
NOW = 1_800_000_000
LAPTOP = System(family="linux", booted_at=NOW - 10 * HOUR)


def findings(*sections: Section, thresholds: Thresholds | None = None) -> tuple[Finding, ...]:
    section = find(Known({type(one).__name__: one for one in sections}, NOW, thresholds))
    assert section.unavailable == {}
    return section.findings


def codes(*sections: Section, **more: Any) -> list[str]:
    return [finding.code for finding in findings(*sections, **more)]


def disk(**fields: Any) -> Health:
    kind = {"name": "sda", "model": "WDC WD10", "kind": "ata", "passed": True, "rotational": True}
    return Health(disks=(DiskHealth(**{**kind, **fields}),))


def nvme(**fields: Any) -> Health:
    return disk(**{"name": "nvme0", "kind": "nvme", "rotational": False, **fields})


def event(kind: str, subject: str = "", count: int = 1, ago_s: float = DAY) -> Events:
    return Events(events=(Event(kind=kind, subject=subject, count=count, last_at=int(NOW - ago_s)),))


def heat(celsius: int, critical: int | None = None, chip: str = "coretemp") -> Temperatures:
    return Temperatures(sensors=(Sensor(chip=chip, label="Package id 0", celsius=celsius, critical_c=critical),))


def fan(**fields: Any) -> Temperatures:
    return Temperatures(fans=(Fan(chip="nct6775", label="CPU", **fields),))


def service(name: str, **fields: Any) -> Services:
    return Services(manager="systemd", failed=(FailedService(name=name, title="A title", **fields),))


def printer(*reasons: str, **fields: Any) -> Devices:
    return Devices(printers=(Printer(name="Office", reasons=reasons, **fields),))


def programs(count: int, **fields: Any) -> Startup:
    return Startup(programs=tuple(StartupProgram(name=f"p{n}", how="autostart", **fields) for n in range(count)))


Case = tuple[str, tuple[Section, ...], tuple[Section, ...]]
OLD = 8 * DAY

CASES: list[Case] = [
    ("disk-failing", (disk(passed=False),), (disk(passed=None),)),
    ("disk-failing", (disk(failing=("Spin_Retry_Count",)),), (disk(),)),
    ("disk-failing", (nvme(passed=False, critical_warning=UNRELIABLE),), (nvme(critical_warning=0),)),
    ("disk-failing", (nvme(passed=False),), (nvme(passed=None),)),
    ("disk-failed-before", (disk(failed_before=("Airflow_Temperature_Cel",)),), (disk(),)),
    ("disk-turned-read-only", (nvme(passed=False, critical_warning=READ_ONLY),), (nvme(),)),
    ("disk-backup-power", (nvme(passed=False, critical_warning=BACKUP_FAILED),), (nvme(),)),
    (
        "disk-spare-low",
        (nvme(spare_percent=15, spare_threshold_percent=10),),
        (nvme(spare_percent=40, spare_threshold_percent=10),),
    ),
    ("disk-spare-low", (nvme(critical_warning=SPARE_LOW),), (nvme(spare_percent=100, spare_threshold_percent=95),)),
    ("disk-sectors-unreadable", (disk(pending=1),), (disk(pending=0),)),
    ("disk-sectors-replaced", (disk(reallocated=10),), (disk(reallocated=9),)),
    ("disk-media-errors", (nvme(media_errors=1),), (nvme(media_errors=0),)),
    ("disk-media-errors", (disk(uncorrectable=3),), (disk(uncorrectable=0),)),
    ("disk-worn-out", (nvme(wear_percent=100),), (nvme(wear_percent=79),)),
    ("disk-wearing", (nvme(wear_percent=80),), (nvme(wear_percent=79),)),
    ("disk-hot", (disk(temperature_c=60),), (disk(temperature_c=55),)),
    ("disk-hot", (nvme(temperature_c=75),), (nvme(temperature_c=70),)),
    ("disk-hot", (nvme(passed=False, critical_warning=TOO_WARM),), (nvme(),)),
    ("disk-cable", (disk(crc_errors=100),), (disk(crc_errors=99),)),
    ("disk-self-test-failed", (disk(self_test="failed"),), (disk(self_test="running"),)),
    ("disk-old", (disk(power_on_hours=6 * 8766),), (disk(power_on_hours=5 * 8766),)),
    ("memory-errors-corrected", (event("memory-error", "MC0", 120),), (event("memory-error", "MC0", 120, OLD),)),
    (
        "battery-service",
        (Battery(present=True, cells=(Cell(name="battery", condition="service"),)),),
        (Battery(present=True, cells=(Cell(name="battery", condition="good"),)),),
    ),
    ("too-hot", (heat(95, 100),), (heat(90, 100),)),
    ("too-hot", (heat(95),), (heat(90),)),
    ("throttled", (Temperatures(throttled=600), LAPTOP), (Temperatures(throttled=500), LAPTOP)),
    ("fan-broken", (fan(fault=True),), (fan(turns=False),)),
    ("under-voltage", (Temperatures(under_voltage=True),), (Temperatures(under_voltage=False),)),
    ("under-voltage", (event("under-voltage"),), (event("under-voltage", ago_s=OLD),)),
    ("service-failed", (service("NetworkManager.service"),), (service("apt-daily.service"),)),
    ("services-failed", (service("apt-daily.service"),), (Services(manager="systemd"),)),
    (
        "service-restarting",
        (Services(restarting=(FailedService(name="x.service", restarts=10),)),),
        (Services(restarting=(FailedService(name="x.service", restarts=9),)),),
    ),
    (
        "clock-unsynchronised",
        (Services(clock_synchronised=False), LAPTOP),
        (Services(clock_synchronised=False), System(family="linux", virtual="kvm")),
    ),
    ("memory-ran-out", (event("oom", "firefox"),), (event("oom", "firefox", ago_s=OLD),)),
    ("memory-limit", (event("oom-limit", "python3"),), (event("oom-limit", "python3", ago_s=OLD),)),
    ("disk-errors", (event("disk", "sda"),), (event("disk", "sda", ago_s=OLD),)),
    ("filesystem-errors", (event("filesystem", "sda2"),), (event("filesystem", "sda2", ago_s=OLD),)),
    ("machine-check", (event("machine-check"),), (event("machine-check", ago_s=OLD),)),
    ("graphics-fault", (event("graphics", "i915"),), (event("graphics", "i915", ago_s=OLD),)),
    ("wifi-firmware", (event("wifi", "iwlwifi"),), (event("wifi", "iwlwifi", ago_s=OLD),)),
    ("usb-faulty", (event("usb", "1-2", 5),), (event("usb", "1-2", 4),)),
    ("usb-overload", (Devices(over_current=("usb1-port2",)),), (Devices(),)),
    ("usb-overload", (event("usb-power", "usb1-port2"),), (event("usb-power", ago_s=OLD),)),
    ("kernel-fault", (event("kernel"),), (event("kernel", ago_s=OLD),)),
    ("system-stalls", (event("hang", "jbd2"),), (event("hang", ago_s=OLD),)),
    (
        "kernel-crashed",
        (Events(kernel_dumps=1, kernel_dump_at=NOW - DAY),),
        (Events(kernel_dumps=1, kernel_dump_at=NOW - OLD),),
    ),
    ("program-crashes", (event("crash", "vlc", 3),), (event("crash", "vlc", 2),)),
    ("starts-unclean", (Events(unclean_starts=2),), (Events(unclean_starts=1),)),
    ("printer-stopped", (printer("paused", state="stopped"),), (printer(state="idle"),)),
    ("printer-stopped", (printer(state="idle", accepting=False),), (printer(state="idle", accepting=True),)),
    ("printer-paper", (printer("media-empty-error", state="stopped"),), (printer("media-low-report"),)),
    ("printer-jam", (printer("media-jam-error", "media-empty"),), (printer("none"),)),
    ("printer-open", (printer("cover-open"),), (printer(),)),
    ("printer-away", (printer("offline-report"),), (printer("connecting-to-device"),)),
    ("printer-ink", (printer("toner-low-warning"),), (printer("toner-full"),)),
    ("printer-queue", (printer(waiting=10),), (printer(waiting=9),)),
    (
        "swap-missing",
        (Memory(total=4 * GIB, available=3 * GIB, swap_total=0), LAPTOP),
        (Memory(total=16 * GIB, available=3 * GIB, swap_total=0), LAPTOP),
    ),
    ("startup-many", (programs(20),), (programs(20, enabled=False),)),
]


@pytest.mark.parametrize(("code", "there", "not_there"), CASES)
def test_each_rule_finds_what_it_is_for_and_nothing_else(
    code: str, there: tuple[Section, ...], not_there: tuple[Section, ...]
) -> None:
    assert codes(*there) == [code]
    assert code not in codes(*not_there)


def test_every_code_of_these_rules_has_a_case() -> None:
    sources = [Path(str(module.__file__)).read_text() for module in (health_rules, system_rules)]
    written = {code for text in sources for code in re.findall(r'code="([a-z0-9-]+)"', text)}
    assert written == {code for code, _, _ in CASES} and len(written) >= 40


def test_a_healthy_machine_has_nothing_to_say() -> None:
    well = (
        disk(temperature_c=35, power_on_hours=900, reallocated=0, pending=0, crc_errors=2, self_test="passed"),
        Temperatures(sensors=heat(45, 100).sensors, fans=(Fan(chip="x", turns=True),), throttled=3),
        Services(manager="systemd", state="running", clock_synchronised=True),
        Events(unclean_starts=0, kernel_dumps=0),
        printer(state="idle", accepting=True),
        programs(9),
        LAPTOP,
    )
    assert codes(*well) == []
    assert codes(Health(), Temperatures(), Services(), Events(), Devices(), Startup()) == []


def test_sensors_that_nobody_names_are_believed_by_nobody() -> None:
    assert codes(heat(126, chip="nct6775")) == []


def test_a_rate_is_none_before_an_hour_has_passed() -> None:
    young = System(family="linux", booted_at=NOW - 600)
    assert codes(Temperatures(throttled=5000), young) == []


def test_a_reserve_that_is_used_up_is_worse_than_one_that_is_low() -> None:
    low, used_up = (nvme(spare_percent=p, spare_threshold_percent=10) for p in (15, 5))
    assert [finding.severity for finding in (*findings(low), *findings(used_up))] == ["warning", "error"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "smartctl-scrutiny-smart-fail2.json",
            ["disk-failing", "disk-sectors-unreadable", "disk-sectors-replaced", "disk-old"],
        ),
        ("smartctl-st3500418as-12.json", ["disk-sectors-replaced"]),
        ("smartctl-scrutiny-smart-megaraid1.json", ["disk-sectors-replaced"]),
        ("smartctl-nvme-null-samsung-mzwll3t2hajq-00005-nvme0.json", ["disk-backup-power"]),
        ("smartctl-hgst-hus724020ale640-28.json", ["disk-old"]),
        ("smartctl-samsung-mzvl21t0hclr-00b00-23.json", []),
        ("smartctl-netdata-hdd.json", []),
        ("smartctl-scrutiny-smart-sat.json", []),
        ("smartctl-scrutiny-smart-raid.json", []),
    ],
)
def test_recorded_disks_are_judged_as_a_technician_would(name: str, expected: list[str]) -> None:
    answer = parse_smartctl(sample("storage", name), "sda")
    assert answer.disk is not None
    assert codes(Health(disks=(answer.disk,))) == expected


@given(st.integers(0, 255), st.one_of(st.none(), st.integers(0, 255)), st.one_of(st.none(), st.integers(0, 2**62)))
def test_whatever_a_disk_says_the_findings_can_be_sent(warning: int, wear: int | None, count: int | None) -> None:
    section = Findings(
        findings=findings(
            nvme(critical_warning=warning, wear_percent=wear, media_errors=count, crc_errors=count, pending=count)
        )
    )
    assert decode_section("findings", encode(section)) == section
