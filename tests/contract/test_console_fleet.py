"""`auxilio software` and `auxilio findings` as processes, at a real relay; and in front of one that lies."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from console import fleet_pages
from console.home import Home
from protocol.codec import encode
from protocol.errors import PeerFault
from protocol.fleet import FindingRow, FindingsPage, PackageRow, SoftwarePage, VersionCount
from protocol.ids import DeviceId, sha256
from protocol.report import Report, SectionRef
from protocol.sections.findings import Finding, Findings
from protocol.sections.software import Package, Software
from protocol.signing import KeySigner
from protocol.statement import REPORT, seal_statement
from tests.support.console_process import ConsoleProcess
from tests.support.relay_world import FakeDevice, World, relay_world, until
from tests.support.relayed import Relayed, log_in
from tests.support.world_console import console_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVIL = "owned\x1b]0;t\x07\x1b[2J\r\n\u202e"
NOON = 1_764_590_400
"""2025-12-01 12:00 UTC."""

DAY_S = 86_400


class Fleet:
    """Three devices, and a console whose technician sees them all."""

    def __init__(self, world: World, console: ConsoleProcess, devices: list[FakeDevice]) -> None:
        self.world = world
        self.console = console
        self.one, self.other, self.third = devices

    async def out(self, *words: str) -> str:
        return await asyncio.to_thread(self.console.out, *words)

    async def said(self, *words: str) -> str:
        done = await asyncio.to_thread(self.console.run, *words)
        return done.stderr.decode()

    async def json(self, *words: str) -> Any:
        return json.loads(await self.out(*words, "--json"))

    async def fails(self, *words: str, status: int) -> str:
        return (await asyncio.to_thread(lambda: self.console.fails(*words, status=status)))[0]


def software(*packages: Package) -> bytes:
    return encode(Software(systems=("dpkg",), packages=packages))


def deb(name: str, version: str, **more: Any) -> Package:
    return Package(name=name, version=version, **more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    async with relay_world("[limits]\nrequests_per_s = 1000.0\nrequest_burst = 100000.0\n") as world:
        devices = [await world.device("clinic"), await world.device("clinic"), await world.device("kiosk")]
        full = Finding(code="disk-full", severity="error", subject=EVIL, evidence={"free_percent": 2})
        reports: list[tuple[FakeDevice, int, int, bytes, tuple[Finding, ...]]] = [
            (devices[0], 1, NOON, software(deb("openssl", "3.0.11"), deb("old", "1")), ()),
            (devices[0], 2, NOON + DAY_S, software(deb("openssl", "3.0.14"), deb("new", "1~rc1")), (full,)),
            (devices[1], 1, NOON, software(deb("openssl", "3.0.11"), deb(EVIL, EVIL)), (full,)),
            (devices[2], 1, NOON, software(), (Finding(code="weak-signal", severity="warning"),)),
        ]
        for device, number, at, packages, found in reports:
            sections = {"software": packages, "findings": encode(Findings(findings=found))}
            async with device.linked() as link:
                await link.send_report(number, sections, collected_at=at)
        technician, client = await world.technician("ana", may="view")

        async def searched() -> bool:
            totals = []
            for package in ("openssl=3.0.14", "openssl=3.0.11"):
                page = await client.request("GET", "/v1/software", SoftwarePage, query={"package": package})
                totals.append(page.total)
            return totals == [1, 1]

        await until(searched, "the software is searched")
        folder = tmp_path_factory.mktemp("fleet")
        console = await asyncio.to_thread(console_of, folder, world, technician)
        console.environment["TZ"] = "UTC"
        yield Fleet(world, console, devices)


# -- software -------------------------------------------------------------------------------------------------------


async def test_who_has_a_package_is_listed_with_versions_and_whose_word_it_is(fleet: Fleet) -> None:
    rows = await fleet.json("software", "openssl")
    assert {(row["device"], row["version"], row["state"], row["said_by"]) for row in rows} == {
        (fleet.one.id, "3.0.14", "approved", "relay"),
        (fleet.other.id, "3.0.11", "approved", "relay"),
    }
    verified = await fleet.json("software", "search", "OpenSSL<3.0.14", "tag:clinic", "--verify")
    assert [(row["device"], row["said_by"], row["fault"]) for row in verified] == [(fleet.other.id, "device", None)]
    versions = await fleet.json("software", "openssl", "--versions")
    assert sorted((one["version"], one["devices"]) for one in versions) == [("3.0.11", 1), ("3.0.14", 1)]
    assert await fleet.json("software", "emacs") == []
    text = await fleet.out("software", "openssl", "tag:clinic")
    assert fleet.one.id in text and "3.0.14" in text
    assert "1 of 2 devices" in await fleet.said("software", "openssl", "--limit", "1")
    table = list(csv.DictReader(io.StringIO(await fleet.out("software", "openssl", "--csv"))))
    assert {row["device"] for row in table} == {fleet.one.id, fleet.other.id}


async def test_what_is_no_package_is_an_error_and_quotes_are_ours_to_add(fleet: Fleet) -> None:
    for package in (EVIL, "openssl<", "<3", ""):
        await fleet.fails("software", "search", package, status=2)
    assert await fleet.json("software", 'Mozilla "Firefox" (x64)<128') == []


async def test_two_devices_are_compared_by_what_they_signed(fleet: Fleet) -> None:
    found = await fleet.json("software", "diff", fleet.one.id, fleet.other.id)
    assert (found["left"]["device"], found["right"]["device"]) == (fleet.one.id, fleet.other.id)
    assert {(one["name"][:8], one["change"]) for one in found["differences"]} == {
        ("openssl", "older right"),
        ("new", "only left"),
        (EVIL[:8], "only right"),
    }
    shown = await fleet.out("software", "diff", fleet.one.id, fleet.other.id)
    assert "owned\\x1b" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "no difference" in await fleet.out("software", "diff", fleet.one.id, fleet.one.id)


async def test_a_device_is_compared_with_itself_at_dates_of_kept_reports(fleet: Fleet) -> None:
    wanted = [("new", "only right"), ("old", "only left"), ("openssl", "newer right")]
    for dates in (("2025-12-01",), ("2025-12-01 12:00+00:00", "2025-12-02 13:00+00:00")):
        words = [word for date in dates for word in ("--at", date)]
        found = await fleet.json("software", "diff", fleet.one.id, *words)
        assert [(one["name"], one["change"]) for one in found["differences"]] == wanted, dates
        assert (found["left"]["report"], found["right"]["report"]) == (1, 2)
    table = await fleet.out("software", "diff", fleet.one.id, "--at", "2025-12-01", "--csv")
    assert [row["name"] for row in csv.DictReader(io.StringIO(table))] == ["new", "old", "openssl"]
    line = await fleet.fails("software", "diff", fleet.one.id, "--at", "2020-01-01", status=3)
    assert "no report" in line
    for words in ((fleet.one.id,), (fleet.one.id, "--at", "yesterday"), (fleet.one.id,) * 3):
        await fleet.fails("software", "diff", *words, status=2)


# -- findings -------------------------------------------------------------------------------------------------------


async def test_findings_are_listed_worst_first_as_their_devices_signed_them(fleet: Fleet) -> None:
    rows = await fleet.json("findings")
    assert [(row["code"], row["severity"], row["said_by"], row["fault"]) for row in rows] == [
        ("disk-full", "error", "device", None),
        ("disk-full", "error", "device", None),
        ("weak-signal", "warning", "device", None),
    ]
    assert rows[0]["evidence"] == {"free_percent": 2}
    assert [row["device"] for row in await fleet.json("findings", "tag:kiosk")] == [fleet.third.id]
    assert [row["code"] for row in await fleet.json("findings", "--severity", "error", "--limit", "1")] == ["disk-full"]
    assert {row["said_by"] for row in await fleet.json("findings", "--unverified")} == {"relay"}
    counts = await fleet.json("findings", "--counts")
    assert [(one["code"], one["devices"]) for one in counts] == [("disk-full", 2), ("weak-signal", 1)]
    shown = await fleet.out("findings")
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert shown.index("disk-full") < shown.index("weak-signal")
    table = list(csv.DictReader(io.StringIO(await fleet.out("findings", "--code", "weak-signal", "--csv"))))
    assert [(row["device"], row["said_by"]) for row in table] == [(fleet.third.id, "device")]
    listed = await fleet.json("devices", "finding:disk-full")
    assert {one["id"] for one in listed} == {fleet.one.id, fleet.other.id}


# -- a relay that lies ----------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def liar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Relayed, ConsoleProcess]]:
    relay = Relayed(tmp_path_factory.mktemp("liar"))
    await relay.start()
    await log_in(relay)
    yield relay, ConsoleProcess(relay.folder / "home", {"TZ": "UTC"})
    await relay.stop()


def told(relay: Relayed, number: int = 1, at: int = NOON) -> Any:
    """The device, with a report in which it signs a finding and a package."""
    sections = {
        "findings": encode(Findings(findings=(Finding(code="disk-full", severity="warning", subject="/"),))),
        "software": software(deb("openssl", f"3.0.{number}")),
    }
    refs = {}
    for name, data in sections.items():
        refs[name] = SectionRef(sha256=sha256(data), size=len(data), collected_at=at)
        relay.answers["GET", f"/v1/blobs/{refs[name].sha256}"] = lambda data=data: data
    organisation = relay.organisation.id
    report = Report(organisation=organisation, device=relay.device, number=number, collected_at=at, sections=refs)
    return relay.told(report=seal_statement(KeySigner(relay.device_key), REPORT, encode(report)))


async def test_what_a_relay_makes_up_is_said_to_be_its_word(liar: tuple[Relayed, ConsoleProcess]) -> None:
    relay, console = liar
    device = told(relay)
    row = FindingRow(device=relay.device, hostname="x", code="disk-full", severity="error", subject="/")
    rows = (row, msgspec.structs.replace(row, code="invented"))
    relay.answers["GET", "/v1/findings"] = lambda: FindingsPage(rows=rows, devices=(device,), next=None, total=2)
    package = PackageRow(device=relay.device, hostname="x", name="openssl", version="3.0.1", system="dpkg")
    packages = (package, msgspec.structs.replace(package, version="3.0.0"))
    relay.answers["GET", "/v1/software"] = lambda: SoftwarePage(rows=packages, devices=(device,), next=None, total=1)
    found = await asyncio.to_thread(console.json, "findings")
    assert [(one["code"], one["said_by"], one["severity"]) for one in found] == [
        ("disk-full", "device", "warning"),  # as it was signed
        ("invented", "relay", "error"),
    ]
    assert found[1]["fault"] == "the device has not signed it"
    listed = await asyncio.to_thread(console.json, "software", "openssl", "--verify")
    assert [(one["version"], one["said_by"]) for one in listed] == [("3.0.1", "device"), ("3.0.0", "relay")]
    done = await asyncio.to_thread(console.run, "findings")
    assert b"invented: the device has not signed it" in done.stderr


async def test_what_a_page_leaves_out_is_said_and_a_short_page_is_not_the_last(
    liar: tuple[Relayed, ConsoleProcess],
) -> None:
    relay, console = liar
    device = told(relay)
    package = PackageRow(device=relay.device, hostname="x", name="openssl", version="3.0.1", system="dpkg")
    pages = [
        SoftwarePage(
            rows=(package,),
            devices=(device,),
            more_rows={relay.device: 44},
            versions=(VersionCount(name="openssl", version="3.0.1", system="dpkg", devices=1),),
            more_versions=7,
            next=relay.device,
            total=2,
        ),
        SoftwarePage(rows=(msgspec.structs.replace(package, version="3.0.2"),), devices=(device,), next=None, total=2),
    ]
    left: list[SoftwarePage] = []
    relay.answers["GET", "/v1/software"] = lambda: left.pop(0)
    for words in (("openssl",), ("openssl", "--limit", "2")):
        left[:] = pages
        done = await asyncio.to_thread(console.run, "software", *words)
        assert b"3.0.2" in done.stdout, "of the second page, though the first had fewer than were asked for"
        assert b"and 7 more versions" in done.stderr
        assert f"and 44 more of {relay.device}".encode() in done.stderr
    left[:] = pages
    done = await asyncio.to_thread(console.run, "software", "openssl", "--versions", "--json")
    assert b"and 7 more versions" in done.stderr and len(json.loads(done.stdout)) == 1


async def test_swapped_bytes_and_forged_reports_are_nobodys_word_but_the_relays(
    liar: tuple[Relayed, ConsoleProcess],
) -> None:
    relay, console = liar
    device = told(relay)
    row = FindingRow(device=relay.device, hostname="x", code="disk-full", severity="error", subject="/")
    assert device.report is not None
    forged = msgspec.structs.replace(device, report=msgspec.structs.replace(device.report, payload=b"{}"))
    for shown in (device, forged):
        relay.answers["GET", "/v1/findings"] = lambda shown=shown: FindingsPage(
            rows=(row,), devices=(shown,), next=None, total=1
        )
        for path in [path for path in relay.answers if "/v1/blobs/" in path[1]]:
            relay.answers[path] = lambda: b'{"findings":[]}'
        [found] = await asyncio.to_thread(console.json, "findings")
        assert found["said_by"] == "relay" and found["fault"], found
    relay.answers["GET", "/v1/findings"] = lambda: FindingsPage(rows=(row,), devices=(), next=None, total=1)
    assert await asyncio.to_thread(console.json, "findings") == []


async def test_a_report_of_later_or_of_another_is_not_taken_for_the_one_of_then(
    liar: tuple[Relayed, ConsoleProcess],
) -> None:
    relay, console = liar
    path = ("GET", f"/v1/devices/{relay.device}/report")
    later = told(relay, number=7, at=NOON + DAY_S).report
    device = told(relay)
    relay.answers["GET", f"/v1/devices/{relay.device}"] = lambda: device
    words = ("software", "diff", relay.device, "--at", "2025-12-01")
    relay.answers[path] = lambda: later
    line, _ = await asyncio.to_thread(lambda: console.fails(*words, status=5))
    assert "later than asked for" in line
    relay.answers[path] = lambda: relay.organisation.record(relay.device)
    await asyncio.to_thread(lambda: console.fails(*words, status=5))


async def test_a_list_without_an_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_pages, "MAX_ROWS_IN_ALL", 50)
    asked = 0

    async def fetch(after: str | None, limit: int) -> FindingsPage:
        nonlocal asked
        asked += 1
        row = FindingRow(device=DeviceId("k3m9x-aaaaa-aaaaa-aaaaa"), hostname="x", code="c", severity="info")
        return FindingsPage(rows=(row,), devices=(), next=str(asked), total=1)

    desk = SimpleNamespace(home=Home(tmp_path))
    with pytest.raises(PeerFault, match="no end"):
        async for _ in fleet_pages.Pages(desk, fetch, limit=None).pages():  # type: ignore[arg-type]
            pass
    assert asked == 51
