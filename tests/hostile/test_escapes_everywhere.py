"""Every command of the console, in front of a relay and a device whose every text moves the terminal: shown inert.

The commands come from the table that completion uses, so that a new one is missed here. Real processes, in a folder
of an authority and technician that the commands themselves made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from console.command_table import build_table
from protocol.api import Device, DevicePage, ErrorBody, Presence
from protocol.codec import encode
from protocol.fleet import FindingCount, FindingRow, FindingsPage, PackageRow, SoftwarePage, VersionCount
from protocol.ids import sha256
from protocol.report import Report, SectionRef
from protocol.sections.catalogue import SECTIONS
from protocol.signing import KeySigner
from protocol.statement import REPORT, seal_statement
from tests.support.console_process import ConsoleProcess, make_key
from tests.support.filled import fill
from tests.support.relayed import Relayed, log_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARK = "owned"
EVIL = f"{MARK}\x1b]0;t\x07\x1b[2J\x9b31m\r\n\x00\x7f\u202e\u2066</td><script>&\N{TAG LATIN SMALL LETTER A}"

ARGUMENTS: dict[str, tuple[str, ...]] = {
    "authority init": ("--no-passphrase", "--relay", "{relay}", "--pin", "{pin}", "--unattended", "tag:lab"),
    "authority show": (),
    "authority rotate": ("policy",),
    "technician add": ("bob", "--key", "{folder}/bob.pub", "--may", "view", "--scope", "all", "--as", "user"),
    "technician list": (),
    "technician renew": ("bob",),
    "technician revoke": ("bob", "--yes"),
    "join-token create": (),
    "join-token list": (),
    "join-token revoke": ("x",),
    "policy show": (),
    "policy edit": ("--unattended", "tag:lab"),
    "policy publish": (),
    "policy export": ("-",),
    "device approve": ("{device}", "--yes"),
    "device tag": ("{device}", "+lab"),
    "device resign": ("{device}",),
    "device remove": ("{device}", "--yes"),
    "device forget": ("dana",),
    "login": ("{relay}", "--pin", "{pin}", "--key", "{folder}/bob"),
    "devices": (),
    "findings": (),
    "software search": ("owned",),
    "software diff": ("{device}", "--at", "2030-01-01"),
    "show": ("{device}",),
    "diagnose": ("{device}",),
    "forward": ("{device}", "0:127.0.0.1:80"),
    "ssh": ("{device}", "--", "true"),
    "cp": ("{device}:/etc/hostname", "{folder}"),
    "ssh-config": ("--print",),
    "completion": ("bash",),
    "proxy": ("{device}",),
    "known-host": ("{device}",),
}
ALONE = {"demo"}
"""Meets nobody but what it starts itself."""


def commands() -> list[str]:
    table = build_table()
    groups = {path.rpartition(" ")[0] for path in table if " " in path}
    return [path for path in table if path and path not in groups and path not in ALONE]


def inert(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


class Hostile:
    """A console's home whose relay is `relay`, and what its commands said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.relay = Relayed(folder)

    async def begin(self) -> None:
        await self.relay.start()
        await log_in(self.relay)
        self.honest = dict(self.relay.answers)
        make_key(self.folder / "bob")
        self.authority = ConsoleProcess(self.folder / "authority")
        self.technician = ConsoleProcess(self.folder / "home")
        self.words = {
            "relay": self.relay.server.address.url,
            "pin": self.relay.server.address.pin,
            "device": self.relay.device,
            "folder": str(self.folder),
        }

    async def run(self, console: ConsoleProcess, command: str, *more: str) -> tuple[int, str, str]:
        words = [word.format(**self.words) for word in ARGUMENTS[command]]
        process = await asyncio.create_subprocess_exec(
            *console.command, *command.split(), *words, *more,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=console.environment, cwd=self.folder,
        )  # fmt: skip
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        assert b"Traceback" not in err, err.decode("utf-8", "replace")
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def refuse_everything(self, status: int) -> None:
        """Whatever is asked, in words that move terminals."""
        refusal = type("Refusal", (web.HTTPException,), {"status_code": status})
        body = encode(ErrorBody(code=EVIL, message=EVIL, hint=EVIL))

        def refuse() -> None:
            raise refusal(text=body.decode(), content_type="application/json")

        self.relay.answers = {(method, "*"): refuse for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD")}

    async def check_failure(self, command: str, status: int) -> None:
        self.refuse_everything(status)
        for console in (self.technician, self.authority):
            self.relay.calls.clear()
            ended, out, err = await self.run(console, command)
            assert inert(out) and inert(err), (out, err)
            if self.relay.calls and ended != 0:
                assert MARK in err, err


def told(relay: Relayed) -> Device:
    """A device with `EVIL` in every text of every section, and wherever the relay itself may write."""
    refs: dict[str, SectionRef] = {}
    for name, section in SECTIONS.items():
        data = encode(fill(section, EVIL))
        refs[name] = SectionRef(sha256=sha256(data), size=len(data), collected_at=1)
        relay.answers["GET", f"/v1/blobs/{refs[name].sha256}"] = lambda data=data: data
    report = Report(organisation=relay.organisation.id, device=relay.device, number=1, collected_at=1, sections=refs)
    signed = seal_statement(KeySigner(relay.device_key), REPORT, encode(report))
    presence = fill(Presence, EVIL)
    words = {"hostname": EVIL, "os": EVIL, "suggested_tags": (EVIL,)}
    return relay.told(report=signed, presence=msgspec.structs.replace(presence, online=False), **words)


R = TypeVar("R", FindingRow, PackageRow)


def of_device(type_: type[R], relay: Relayed) -> tuple[R, R]:
    """A row that is of no device, and one of the device."""
    row = fill(type_, EVIL)
    return row, msgspec.structs.replace(row, device=relay.device)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hostile]:
    hostile = Hostile(tmp_path_factory.mktemp("escapes"))
    await hostile.begin()
    status, _, said = await hostile.run(hostile.authority, "authority init")
    assert status == 0, said
    status, _, said = await hostile.run(hostile.authority, "technician add")
    assert status == 0, said
    yield hostile
    await hostile.relay.stop()


async def test_every_command_is_tried() -> None:
    assert set(commands()) == set(ARGUMENTS)


@pytest.mark.parametrize("command", sorted(ARGUMENTS))
async def test_what_a_relay_says_of_a_failure_is_inert(hostile: Hostile, command: str) -> None:
    await hostile.check_failure(command, 403)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 429, 507, 503])
async def test_whatever_the_failure_is(hostile: Hostile, status: int) -> None:
    await hostile.check_failure("devices", status)


@pytest.mark.parametrize(
    "command",
    [
        "devices", "findings", "software search", "software diff", "show", "known-host", "device approve", "ssh", "cp",
        "forward", "diagnose",
    ],
)  # fmt: skip
async def test_what_a_device_says_of_itself_is_inert(hostile: Hostile, command: str) -> None:
    relay = hostile.relay
    relay.answers = dict(hostile.honest)
    device = told(relay)
    relay.answers["GET", f"/v1/devices/{relay.device}"] = lambda: device
    relay.answers["GET", "/v1/devices"] = lambda: DevicePage(devices=(device,), next=None, total=1)
    found, counts = of_device(FindingRow, relay), (fill(FindingCount, EVIL),)
    relay.answers["GET", "/v1/findings"] = lambda: FindingsPage(
        rows=found, devices=(device,), counts=counts, next=None, total=2
    )
    packages, versions = of_device(PackageRow, relay), (fill(VersionCount, EVIL),)
    relay.answers["GET", "/v1/software"] = lambda: SoftwarePage(
        rows=packages, devices=(device,), versions=versions, next=None, total=2
    )
    relay.answers["GET", f"/v1/devices/{relay.device}/report"] = lambda: device.report
    _, out, err = await hostile.run(hostile.technician, command)
    assert inert(out) and inert(err), (out, err)
    if command in ("devices", "show", "findings", "software search"):
        assert out.count(MARK) > 1, out
        _, out, err = await hostile.run(hostile.technician, command, "--json")
        assert inert(out) and inert(err), (out, err)
        assert MARK in out


@pytest.mark.parametrize("section", SECTIONS)
async def test_each_section_is_inert_and_shown(hostile: Hostile, section: str) -> None:
    relay = hostile.relay
    relay.answers = dict(hostile.honest)
    device = told(relay)
    relay.answers["GET", f"/v1/devices/{relay.device}"] = lambda: device
    status, out, err = await hostile.run(hostile.technician, "show", section)
    assert status == 0 and inert(out) and inert(err), (out, err)
    assert MARK in out or section == "memory", out
