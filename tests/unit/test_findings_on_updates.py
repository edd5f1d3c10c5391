"""What is found on updates, restarts and abandoned software, and what is left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.findings.find import find
from agent.findings.known import Known
from agent.findings.support_ends import SUPPORT_ENDS, days_left, support_end
from protocol.sections.base import Section
from protocol.sections.findings import Finding
from protocol.sections.machine import System
from protocol.sections.software import Package, Software
from protocol.sections.updates import Broken, Update, Updates

DAY = 86_400
NOW = int(datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp())


def findings(*sections: Section) -> list[Finding]:
    section = find(Known({type(one).__name__.lower(): one for one in sections}, NOW))
    assert section.unavailable == {}
    return list(section.findings)


def codes(*sections: Section) -> list[str]:
    return [finding.code for finding in findings(*sections)]


def windows(*names: str) -> Software:
    return Software(systems=("windows",), packages=tuple(Package(name=n, version="1", system="windows") for n in names))


def system(os_id: str, os_version: str) -> System:
    return System(os_id=os_id, os_version=os_version)


def update(name: str, *, security: bool = False) -> Update:
    return Update(name=name, version="2", installed="1", security=security, system="dpkg")


@pytest.mark.parametrize(
    ("code", "there", "not_there"),
    [
        (
            "updates-security",
            Updates(updates=(update("openssl", security=True),)),
            Updates(systems=("dpkg",), refreshed_at={"dpkg": NOW}),
        ),
        ("updates-pending", Updates(updates=(update("nano"),)), Updates(systems=("dpkg",))),
        ("restart-required", Updates(restart=True, restart_for=("libc6",)), Updates(restart=False)),
        ("restart-required", Updates(restart=True), Updates(restart=None)),
        (
            "updates-stale",
            Updates(refreshed_at={"dpkg": NOW - 15 * DAY}),
            Updates(refreshed_at={"dpkg": NOW - 13 * DAY, "rpm": NOW + DAY}),
        ),
        ("packages-broken", Updates(broken=(Broken(name="a", state="unpacked"),)), Updates()),
        ("packages-held", Updates(held=("linux-image-amd64",)), Updates()),
        ("system-unsupported", system("debian", "11"), system("debian", "12")),
        ("system-unsupported", system("ubuntu", "20.04"), system("ubuntu", "24.04")),
        ("system-unsupported", system("windows", "10.0.19045"), system("windows", "10.0.26100")),
        ("system-unsupported", system("alpine", "3.18.4"), system("alpine", "3.22.1")),
        ("system-unsupported", system("centos", "7"), system("macos", "10.4")),
        ("software-abandoned", windows("Adobe Flash Player 32 NPAPI"), windows("Adobe Acrobat Reader")),
        ("software-abandoned", windows("Skype 8.1"), windows("Skype for Business 2016")),
        (
            "antivirus-several",
            windows("Avast Free Antivirus", "McAfee Total Protection"),
            windows("Avast Free Antivirus", "Avast Premium Security", "Norton Utilities"),
        ),
    ],
)
def test_each_rule_finds_what_it_is_for_and_nothing_else(code: str, there: Section, not_there: Section) -> None:
    assert codes(there) == [code]
    assert codes(not_there) == []


def test_nothing_known_is_nothing_found() -> None:
    assert codes(Updates(), Software(), System()) == []


def test_updates_for_security_stand_apart_and_five_are_named() -> None:
    both = Updates(updates=(*(update(f"lib{n}", security=True) for n in range(7)), update("nano")))
    security, other = findings(both)
    assert (security.code, security.severity) == ("updates-security", "warning")
    assert security.evidence == {"count": 7, "names": "lib0, lib1, lib2, lib3, lib4, …"}
    assert (other.code, other.severity, other.evidence) == ("updates-pending", "info", {"count": 1, "names": "nano"})


def test_the_end_of_support_is_announced_a_quarter_of_a_year_ahead() -> None:
    end = support_end("rhel", "7.9")
    assert end is not None and end.isoformat() == "2024-06-30"
    midnight = int(datetime(2024, 7, 1, tzinfo=UTC).timestamp())
    assert days_left(end, midnight - 1) == 0 and days_left(end, midnight + 1) == -1
    august = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp())
    [finding] = find(Known({"system": system("debian", "11")}, august)).findings
    assert (finding.code, finding.evidence["days"]) == ("system-support-ends", 31)


def test_every_date_of_the_table_is_one_and_belongs_to_the_version_that_names_it() -> None:
    for os_id, ends in SUPPORT_ENDS.items():
        for version, text in ends.items():
            end = support_end(os_id, version)
            assert end is not None and end.isoformat() == text and 2014 <= end.year <= 2040
            assert os_id == "windows" or support_end(os_id.upper(), f"{version}.999") == end
    assert support_end("debian", "") is None and support_end("", "12") is None


def test_a_distribution_s_own_package_of_an_abandoned_name_is_its_maintainers_care() -> None:
    assert codes(Software(systems=("dpkg",), packages=(Package(name="Skype", version="1"),))) == []
