"""What strangers, devices and technicians say, in front of the relay's database and its log: text, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import pytest_asyncio

from protocol.api import DevicePage
from protocol.errors import AuxilioError
from tests.support.relay_world import World, relay_world, sections, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGED = '{"at":1.0,"level":"info","event":"forged"}'
EVIL = [
    "x'; DROP TABLE devices; --",
    'x"; DELETE FROM reports WHERE "1"="1',
    "x' OR '1'='1",
    "x') UNION SELECT bearer FROM logins --",
    "%",
    "x\\",
    f"x\n{FORGED}\n",
    f"x\r\n{FORGED}",
    "x\u2028" + FORGED,
    "\x00x",
    "\x1b[2Jx",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with relay_world("[limits]\nrequests_per_s = 1000.0\nrequest_burst = 100000.0\n") as world:
        yield world


def log_of(world: World) -> list[dict[str, object]]:
    """Every line of the log is one entry, and nobody but the relay has written one."""
    return [json.loads(line) for line in world.relay.log.splitlines() if line.startswith("{")]


async def test_values_of_a_device_are_kept_as_they_are_and_search_finds_them_alone(world: World) -> None:
    _, client = await world.technician()
    plain, evil = await world.device("lab"), await world.device("lab")
    async with plain.linked() as link:
        await link.send_report(1, sections("plain"))
    async with evil.linked() as link:
        for number, text in enumerate(EVIL, start=1):
            if "\x00" in text:
                continue  # a name that no database holds is refused as a section; test_relay_hostile.py
            await link.send_report(number, sections(text, openssl=text))
            page = await client.request("GET", "/v1/devices", DevicePage, query={"selector": "host:plain"})
            assert [device.id for device in page.devices] == [plain.id]
            everybody = await client.request("GET", "/v1/devices", DevicePage)
            assert {device.id for device in everybody.devices} == {plain.id, evil.id}
    assert "forged" not in {entry["event"] for entry in log_of(world)}


@pytest.mark.parametrize("text", EVIL)
async def test_what_is_searched_for_is_no_sql(world: World, text: str) -> None:
    _, client = await world.technician()
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    for selector in (f'host:"{quoted}"', f'software:"{quoted}"', f'finding:"{quoted}"', text):
        try:
            page = await client.request("GET", "/v1/devices", DevicePage, query={"selector": selector})
        except AuxilioError as exc:
            assert exc.message.isprintable()  # refused as what it is: no selector
        else:
            assert len(page.devices) <= 1, "of two devices a text is the name of one at most"
    for where in ("devices", "sessions", "blobs"):
        with pytest.raises(AuxilioError):
            await client.request("GET", f"/v1/{where}/{quote(text, safe='')}", DevicePage)
    if text.isascii() and text.isprintable():  # what a header can hold
        with pytest.raises(AuxilioError):
            await world.client(text).request("GET", "/v1/devices", DevicePage)


async def test_afterwards_everything_is_there_and_the_log_is_the_relays(world: World) -> None:
    _, client = await world.technician()
    page = await client.request("GET", "/v1/devices", DevicePage)
    assert len(page.devices) == 2
    await until(lambda: log_of(world), "it has a log")
    assert "forged" not in {entry["event"] for entry in log_of(world)}
    assert all("\x1b" not in line and "\u2028" not in line for line in world.relay.log.splitlines())
