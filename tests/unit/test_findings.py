"""Each rule at its threshold: what is found, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from agent.findings import find as find_module
from agent.findings.find import find
from agent.findings.known import Known
from agent.findings.thresholds import Thresholds
from protocol.sections.base import Section
from protocol.sections.battery import Battery, Cell
from protocol.sections.connectivity import Connectivity, Rung
from protocol.sections.findings import Finding
from protocol.sections.machine import Cpu, System
from protocol.sections.memory import Memory
from protocol.sections.storage import Filesystem, Storage

GIB = 1024**3
DAY = 86_400
NOW = 1_800_000_000


def fs(**changes: Any) -> Filesystem:
    fields = {"mount": "/", "device": "/dev/sda1", "type": "ext4", "size": 100 * GIB, "available": 50 * GIB}
    return Filesystem(**{**fields, **changes})


def cell(**changes: Any) -> Cell:
    return Cell(**{"name": "BAT0", "percent": 80, "state": "discharging", "health_percent": 90, **changes})


def found(*sections: Section, thresholds: Thresholds | None = None) -> list[str]:
    known = Known({type(section).__name__.lower(): section for section in sections}, NOW, thresholds)
    section = find(known)
    assert section.unavailable == {}
    return [finding.code for finding in section.findings]


@pytest.mark.parametrize(
    ("code", "there", "not_there"),
    [
        ("memory-low", Memory(total=8 * GIB, available=GIB // 4), Memory(total=8 * GIB, available=GIB)),
        ("memory-small", Memory(total=2 * GIB, available=GIB), Memory(total=4 * GIB, available=2 * GIB)),
        (
            "swap-heavy",
            Memory(total=8 * GIB, available=GIB, swap_total=2 * GIB, swap_used=GIB * 3 // 2),
            Memory(total=8 * GIB, available=4 * GIB, swap_total=2 * GIB, swap_used=GIB * 3 // 2),
        ),
        ("disk-full", Storage(filesystems=(fs(available=GIB),)), Storage(filesystems=(fs(available=3 * GIB),))),
        (
            "disk-nearly-full",
            Storage(filesystems=(fs(available=5 * GIB),)),
            Storage(filesystems=(fs(size=4000 * GIB, available=300 * GIB),)),
        ),
        (
            "inodes-full",
            Storage(filesystems=(fs(inodes_used_percent=100),)),
            Storage(filesystems=(fs(inodes_used_percent=90),)),
        ),
        (
            "filesystem-read-only",
            Storage(filesystems=(fs(read_only=True),)),
            Storage(filesystems=(fs(mount="/mnt", read_only=True),)),
        ),
        ("uptime-long", System(booted_at=NOW - 90 * DAY), System(booted_at=NOW - 90 * DAY, virtual="kvm")),
        ("cpu-overload", Cpu(threads=4, load_15m=9.0), Cpu(threads=16, load_15m=9.0)),
        (
            "battery-worn",
            Battery(present=True, cells=(cell(health_percent=40),)),
            Battery(present=True, cells=(cell(health_percent=70),)),
        ),
        (
            "battery-low",
            Battery(present=True, cells=(cell(percent=5),)),
            Battery(present=True, mains=True, cells=(cell(percent=5, state="charging"),)),
        ),
        (
            "battery-charging-not",
            Battery(present=True, mains=True, cells=(cell(percent=5, state="idle"),)),
            Battery(present=True, mains=True, cells=(cell(percent=80, state="idle"),)),
        ),
    ],
)
def test_each_rule_finds_what_it_is_for_and_nothing_else(code: str, there: Section, not_there: Section) -> None:
    assert found(there) == [code]
    assert code not in found(not_there)


def test_what_is_not_known_is_not_wrong() -> None:
    assert found() == []
    assert found(Memory(), Storage(), System(), Cpu(), Battery()) == []


def test_small_and_foreign_file_systems_are_full_as_they_are_used() -> None:
    odd = [fs(mount="/boot", available=0), fs(type="squashfs", available=0), fs(size=GIB // 8, available=0)]
    assert found(Storage(filesystems=(*odd, fs(mount="/media/dvd", read_only=True, available=0)))) == []


def test_a_policy_s_threshold_holds_and_one_of_tomorrow_does_no_harm() -> None:
    storage = Storage(filesystems=(fs(available=15 * GIB),))
    assert found(storage) == []
    stricter = Thresholds.with_changes({"disk_low_percent": 20, "of_tomorrow": 1})
    assert found(storage, thresholds=stricter) == ["disk-nearly-full"]


def test_the_worst_comes_first_and_what_lasts_keeps_its_beginning() -> None:
    rungs = (
        Rung(name="dns", state="warn", code="dns-slow", evidence={"ms": 900}),
        Rung(name="relay", state="fail", code="relay-silent", evidence={"host": "r"}),
        Rung(name="tls", state="unknown"),
    )
    before = [Finding(code="dns-slow", severity="warning", since_at=1)]
    section = find(Known({"connectivity": Connectivity(rungs=rungs)}, NOW), before)
    assert [(f.code, f.severity, f.since_at) for f in section.findings] == [
        ("relay-silent", "error", NOW),
        ("dns-slow", "warning", 1),
    ]


def test_a_rule_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(known: Known) -> Any:
        raise ZeroDivisionError("a bug")
        yield

    monkeypatch.setattr(find_module, "RULES", (broken, *find_module.RULES))
    section = find(Known({"memory": Memory(total=2 * GIB, available=GIB)}, NOW))
    assert [f.code for f in section.findings] == ["memory-small"]
    assert section.unavailable == {"broken": "ZeroDivisionError: a bug"}
