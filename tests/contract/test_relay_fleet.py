"""The fleet at a real relay: who has a package, what is wrong where, what was reported when; in scope, by pages."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from sqlalchemy import Connection

from protocol.api import DevicePage
from protocol.codec import encode
from protocol.errors import AuxilioError, BadMessage, Refused
from protocol.fleet import FindingRow, FindingsPage, PackageRow, SoftwarePage
from protocol.ids import DeviceId, sha256
from protocol.report import open_report
from protocol.sections.findings import Finding, Findings
from protocol.sections.software import Package, Software
from protocol.selector import parse
from protocol.statement import Signed
from relay import fleet
from relay.logins import Login
from tests.contract.test_store_listing import technician
from tests.support.organisation import Organisation
from tests.support.relay_world import FakeDevice, FakeLink, World, relay_world, until
from tests.support.store_world import A, add_device, fresh_store
from transport.blobs import get_blob
from transport.http import RelayClient

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOMY = "[limits]\nrequests_per_s = 1000.0\nrequest_burst = 100000.0\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with relay_world(ROOMY) as world:
        yield world


def software(*packages: Package) -> dict[str, bytes]:
    return {"software": encode(Software(systems=("dpkg",), packages=packages))}


def deb(name: str, version: str, **more: Any) -> Package:
    return Package(name=name, version=version, **more)


def found(*findings: Finding) -> dict[str, bytes]:
    return {"findings": encode(Findings(findings=findings))}


async def report(device: FakeDevice, number: int, sections: dict[str, bytes], **changes: Any) -> None:
    async with device.linked() as link:
        await link.send_report(number, sections, **changes)


def notes(world: World, device: FakeDevice) -> str:
    with closing(sqlite3.connect(f"file:{world.relay.database}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT notes FROM devices WHERE id = ?", (device.id,)).fetchone()[0]


async def search(client: RelayClient, package: str, **query: Any) -> SoftwarePage:
    return await client.request("GET", "/v1/software", SoftwarePage, query={"package": package, **query})


async def in_step(client: RelayClient, package: str, count: int) -> None:
    async def reached() -> bool:
        return (await search(client, package)).total == count

    await until(reached, f"{count} devices have {package}")


async def table(client: RelayClient, path: str, **query: Any) -> list[dict[str, str]]:
    async with client.exchange("GET", f"{path}?{urlencode({**query, 'format': 'csv'})}") as answer:
        assert answer.headers["content-type"].startswith("text/csv")
        data = await answer.read(1 << 20)
    return list(csv.DictReader(io.StringIO(data.decode())))


async def test_who_has_a_package_is_said_by_version_in_scope_and_page_by_page(world: World) -> None:
    clinic = [await world.device("clinic") for _ in range(5)]
    kiosk = await world.device("kiosk")
    for number, device in enumerate(clinic):
        await report(device, 1, software(deb("openssl", f"3.0.{10 + number}-1"), deb("vim", "9")))
    await report(kiosk, 1, software(deb("OpenSSL", "3.0.11", system="windows", source="winget")))
    _, client = await world.technician()
    await in_step(client, "openssl", 6)

    page = await search(client, "openssl<3.0.13")
    ids = sorted(device.id for device in (*clinic[:3], kiosk))
    assert [row.device for row in page.rows] == ids == [device.id for device in page.devices]
    assert page.total == 4 and page.next is None
    assert {(one.name, one.version, one.system, one.devices) for one in page.versions} == {
        ("openssl", "3.0.10-1", "dpkg", 1),
        ("openssl", "3.0.11-1", "dpkg", 1),
        ("openssl", "3.0.12-1", "dpkg", 1),
        ("OpenSSL", "3.0.11", "windows", 1),
    }
    [windows] = [row for row in page.rows if row.device == kiosk.id]
    assert windows == PackageRow(
        device=kiosk.id, hostname="device.example", name="OpenSSL", version="3.0.11", system="windows", source="winget"
    )

    assert (await search(client, "openssl", selector="tag:kiosk")).total == 1
    assert (await search(client, "openssl", selector="not software:vim")).total == 1
    assert (await search(client, "emacs")).total == 0
    seen: list[str] = []
    after = None
    while True:
        page = await search(client, "openssl", limit=2, **({} if after is None else {"after": after}))
        assert bool(page.versions) is (after is None)
        seen += [row.device for row in page.rows]
        after = page.next
        if after is None:
            break
    assert seen == sorted(device.id for device in (*clinic, kiosk))

    _, narrow = await world.technician("bea", scope="tag:kiosk")
    only = await search(narrow, "openssl")
    assert [row.device for row in only.rows] == [kiosk.id]
    assert [one.devices for one in only.versions] == [1], "what is counted is in scope, too"
    assert [row["device"] for row in await table(narrow, "/v1/software", package="openssl")] == [kiosk.id]


async def test_a_device_that_has_reported_no_software_is_in_neither_answer(world: World) -> None:
    device = await world.device("silent")
    _, client = await world.technician()
    await report(device, 1, {"software": encode(Software())})
    for selector in ("software:vim", "not software:vim"):
        query = {"selector": f"tag:silent {selector}"}
        assert (await client.request("GET", "/v1/devices", DevicePage, query=query)).total == 0
    await report(device, 2, software())
    query = {"selector": "tag:silent not software:vim"}

    async def known() -> bool:
        return (await client.request("GET", "/v1/devices", DevicePage, query=query)).total == 1

    await until(known, "it is known to have none")
    await report(device, 3, {"software": b"{"})

    async def unknown() -> bool:
        return not (await client.request("GET", "/v1/devices", DevicePage, query=query)).total

    await until(unknown, "what cannot be read is not known")


async def test_a_device_with_more_versions_than_anybody_has_is_kept_as_signed_and_not_searched(world: World) -> None:
    device = await world.device("liar")
    _, client = await world.technician()
    await report(device, 1, software(deb("libmany", "1"), deb("honest", "1")))
    await in_step(client, "honest", 1)
    many = software(*(deb("libmany", f"1.{number}") for number in range(100)), deb("honest", "1"))
    await report(device, 2, many)
    await in_step(client, "honest", 0)
    assert (await search(client, "libmany")).total == 0
    assert await get_blob(client, sha256(many["software"])) == many["software"]
    noted = "software: 100 versions of one package, where 64 are the most"

    async def is_noted() -> bool:
        return notes(world, device) == noted

    await until(is_noted, "it is noted")
    await report(device, 3, many)
    assert notes(world, device) == noted, "of a section that is not read again"
    await report(device, 4, software(deb("honest", "2")))
    await in_step(client, "honest", 1)
    assert notes(world, device) == ""


async def test_pages_are_bounded_in_rows_versions_and_bytes_and_say_what_they_leave_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = sorted([await world.device("many") for _ in range(12)], key=lambda device: device.id)
    long = "x" * 200
    for number, device in enumerate(devices):
        own = [deb("wide", f"{number}.{n}.{long}") for n in range(59)]
        await report(device, 1, software(deb("wide", "1"), *own))
    _, client = await world.technician()
    await in_step(client, "wide", 12)
    page = await search(client, "wide")
    assert [device.id for device in page.devices] == [device.id for device in devices] and page.next is None
    assert len(page.rows) == 12 * 20 and page.more_rows == {device.id: 40 for device in devices}
    assert len(page.versions) == 500 and page.more_versions == 12 * 59 + 1 - 500
    assert page.versions[0].version == "1" and page.versions[0].devices == 12
    assert len(await table(client, "/v1/software", package="wide")) == 12 * 60, "a table is whole"


async def test_a_page_ends_before_it_is_too_long_for_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "PAGE_BYTES", 20_000)
    ids = [DeviceId("-".join([f"{number:05d}"] * 4)) for number in range(30)]
    who = technician("all")
    login = Login(organisation=A, technician=who, fingerprint="f", scope="full", relay="r:1", expires_at=9)
    async with fresh_store() as (store, _):

        def fill(connection: Connection) -> None:
            for id_ in ids:
                held = [deb("wide", f"{n}{'x' * 90}") for n in range(15)]
                add_device(connection, A, id_, tags=(), software=held)

        await store.write(fill)
        asked = fleet.SoftwareAsked(term=parse("software:wide"), selector=parse("all"))
        seen: list[str] = []
        after: str | None = None
        while after is not None or not seen:
            job = partial(fleet.search_software, login=login, asked=asked, after=after, limit=20, now=1.0)
            page = await store.read(job)
            assert len(encode(page)) < 25_000 and page.total == len(ids) and len(page.devices) < 20
            seen += [device.id for device in page.devices]
            after = page.next
        assert seen == ids


async def test_after_an_upgrade_a_device_is_found_by_its_new_version_alone(world: World) -> None:
    device = await world.device("upgraded")
    _, client = await world.technician()
    await report(device, 1, software(deb("wonder", "1.0"), deb("kept", "1")))
    await in_step(client, "wonder", 1)
    await report(device, 2, software(deb("wonder", "1.1"), deb("kept", "1")))
    await in_step(client, "wonder=1.1", 1)
    assert (await search(client, "wonder<1.1")).total == 0
    assert (await search(client, "kept")).total == 1
    await report(device, 3, {})
    await in_step(client, "kept", 0)


async def test_the_strongest_modem_counts_as_the_signal_and_what_no_receiver_hears_is_not_known(world: World) -> None:
    device = await world.device("van")
    _, client = await world.technician()
    weak = b'{"modems":[{"name":"wwan0","rsrp_dbm":-121,"rssi_dbm":-60},{"rssi_dbm":-113},{}]}'
    for number, (data, below, above) in enumerate(
        ((weak, 1, 0), (b'{"modems":[{"rsrp_dbm":-80}]}', 0, 1), (b'{"modems":[{"rsrp_dbm":-99999}]}', 0, 0))
    ):
        await report(device, number + 1, {"modem": data})
        for selector, count in (("signal<-110dBm", below), ("signal>=-110dBm", above)):
            query = {"selector": f"tag:van {selector}"}
            assert (await client.request("GET", "/v1/devices", DevicePage, query=query)).total == count, (
                data,
                selector,
            )


async def test_what_was_acknowledged_is_searched_after_the_relay_was_killed(world: World) -> None:
    devices = [await world.device("killed") for _ in range(6)]
    links: list[FakeLink] = []
    many = [deb(f"filler-{number}", "1") for number in range(1500)]
    for number, device in enumerate(devices):
        link = await device.dial()
        await link.greet()
        links.append(link)
        await link.send_report(1, software(deb("survivor", str(number)), *many))
    await world.relay.kill()
    for link in links:
        link.close()
    await world.relay.start()
    _, client = await world.technician()
    await in_step(client, "survivor", 6)


async def test_findings_are_listed_worst_first_in_scope_and_page_by_page(world: World) -> None:
    one, other, last = [await world.device("ward", name) for name in ("north", "south", "south")]
    disk = Finding(code="disk-full", severity="error", subject="/home", since_at=5)
    weak = Finding(code="weak-signal", severity="warning")
    note = Finding(code="reboot-due", severity="info")
    await report(one, 1, found(weak, note))
    await report(other, 1, found(disk, weak))
    await report(last, 1, found())
    _, client = await world.technician()

    async def page(client: RelayClient = client, **query: Any) -> FindingsPage:
        query = {"selector": "tag:ward", **query}
        return await client.request("GET", "/v1/findings", FindingsPage, query=query)

    whole = await page()
    severities = [row.severity for row in whole.rows]
    assert severities == ["error", "warning", "warning", "info"] and whole.total == 4
    assert whole.rows[0] == FindingRow(
        device=other.id, hostname="device.example", code="disk-full", severity="error", subject="/home", since_at=5
    )
    assert [(one.code, one.findings, one.devices) for one in whole.counts] == [
        ("disk-full", 1, 1),
        ("weak-signal", 2, 2),
        ("reboot-due", 1, 1),
    ]
    assert {device.id for device in whole.devices} == {one.id, other.id}
    rows: list[FindingRow] = []
    after: dict[str, str] = {}
    while True:
        part = await page(limit=1, **after)
        rows += part.rows
        if part.next is None:
            break
        after = {"after": part.next}
    assert tuple(rows) == whole.rows
    assert [row.code for row in (await page(severity="warning")).rows] == ["disk-full", "weak-signal", "weak-signal"]
    assert [row.device for row in (await page(code="reboot-due")).rows] == [one.id]
    assert (await page(selector="finding:disk-full")).total == 2, "all that the devices have that have this one"
    long = " or ".join(["tag:south"] * 120)
    assert (await page(selector=long)).counts == (await page(selector="tag:south")).counts

    _, narrow = await world.technician("cleo", scope="tag:south")
    assert {row.device for row in (await page(narrow)).rows} == {other.id}
    assert len(await table(narrow, "/v1/findings", selector="tag:ward")) == 2
    query = {"selector": "tag:ward not finding:disk-full"}
    listed = await client.request("GET", "/v1/devices", DevicePage, query=query)
    assert {device.id for device in listed.devices} == {one.id, last.id}
    await report(other, 2, found(note))
    assert [row.code for row in (await page(selector="tag:south")).rows] == ["reboot-due"]


async def test_a_table_is_whole_and_runs_nothing_in_a_spreadsheet(world: World) -> None:
    devices = [await world.device("sheet") for _ in range(3)]
    evil = '=HYPERLINK("http://evil.example","x"),\x1b[2J\n@y'
    says = found(Finding(code="x", severity="info", subject=evil))
    for device in devices:
        await report(device, 1, {**software(deb("sheet", evil)), **says})
    _, client = await world.technician()
    await in_step(client, "sheet", 3)
    for path, column, query in (
        ("/v1/software", "version", {"package": "sheet"}),
        ("/v1/findings", "subject", {"selector": "tag:sheet"}),
    ):
        rows = await table(client, path, **query)
        assert {row["device"] for row in rows} == {device.id for device in devices}
        assert all(row[column].startswith("'=") and row[column].isprintable() for row in rows)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/software", {}),
        ("/v1/software", {"package": "a or tag:b"}),
        ("/v1/software", {"package": "a", "after": "x" * 100}),
        ("/v1/software", {"package": "a", "format": "xml"}),
        ("/v1/software", {"package": "a", "limit": 501}),
        ("/v1/findings", {"severity": "worst"}),
        ("/v1/findings", {"code": "A b"}),
        ("/v1/findings", {"after": "nonsense"}),
        ("/v1/findings", {"after": "9" * 30 + ":a:b:c"}),
        ("/v1/findings", {"selector": "("}),
    ],
)
async def test_what_is_no_question_is_refused(world: World, path: str, query: dict[str, Any]) -> None:
    _, client = await world.technician()
    with pytest.raises(AuxilioError) as caught:
        await client.request("GET", path, SoftwarePage, query=query)
    assert caught.value.reason == BadMessage.code


async def test_a_report_is_shown_as_it_was_at_an_instant_with_its_sections(world: World) -> None:
    device, _other = await world.device("archive"), await world.device("archive")
    old, new = software(deb("tool", "1")), software(deb("tool", "2"))
    await report(device, 1, old, collected_at=1000)
    await report(device, 2, new, collected_at=2000)
    _, client = await world.technician()
    path = f"/v1/devices/{device.id}/report"
    for at, number, made in ((1000, 1, old), (1999, 1, old), (2000, 2, new), (None, 2, new)):
        query = {} if at is None else {"at": at}
        signed = await client.request("GET", path, Signed, query=query)
        line = Organisation.line(device.key)
        opened = open_report(signed, organisation=world.organisation.id, device=device.id, device_key=line)
        assert opened.number == number
        assert await get_blob(client, sha256(made["software"])) == made["software"]
    with pytest.raises(Refused) as caught:
        await client.request("GET", path, Signed, query={"at": 999})
    assert caught.value.reason == "no_report"
    _, narrow = await world.technician("dora", scope="tag:nothing")
    with pytest.raises(Refused) as caught:
        await narrow.request("GET", path, Signed)
    assert caught.value.reason == "not_found"
