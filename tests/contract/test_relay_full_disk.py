"""A relay whose disk is full: it acknowledges nothing, says so, and goes on when there is room. A real disk."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from protocol.errors import AuxilioError
from tests.support.relay_world import FakeDevice, World, relay_world, sections, until
from tests.support.small_disk import is_possible, small_disk

pytestmark = pytest.mark.skipif(not is_possible(), reason="mounting is not allowed here, even in a namespace")

SIZE_KIB = 32 * 1024
PACKAGES = 4_000


async def readiness(world: World) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(world.relay.admin_url + "/readyz") as answer:
        return answer.status, await answer.text()


async def report_until_refused(device: FakeDevice) -> tuple[int, str]:
    """Report new sections without end; return the last number that was acknowledged, and how it ended."""
    number = 0
    try:
        async with device.linked(nonces=0) as link:
            while True:
                packages = {f"package-{index}": f"1.{number}" for index in range(PACKAGES)}
                made = {"software": sections(**packages)["software"]}
                number = (await link.send_report(number + 1, made)).number
    except (AuxilioError, AssertionError) as exc:
        return number, str(exc)


async def test_a_full_disk_is_said_and_acknowledged_reports_survive_it() -> None:
    with small_disk(SIZE_KIB) as disk:
        settings = f'[store]\ndatabase = "{disk.path}/relay.sqlite"\n'
        async with relay_world(settings, disk.prefix) as world:
            device = await world.device("clinic")
            disk.fill(leave=2 * 1024 * 1024)
            acknowledged, ended = await report_until_refused(device)
            assert acknowledged >= 1 and "disk is full" in ended, ended
            disk.fill()
            status, said = await readiness(world)
            assert status == 503 and "disk is full" in said, said
            checked = await world.relay.command("check", status=4)
            assert "disk" in checked
            disk.free()
            await until(lambda: _is_ready(world), "it takes writes again, without a restart")
            async with device.linked(nonces=0) as link:
                assert link.welcome is not None and link.welcome.report == acknowledged
            await world.relay.kill()
            await world.relay.start()
            async with device.linked(nonces=0) as link:
                assert link.welcome is not None and link.welcome.report == acknowledged


async def _is_ready(world: World) -> bool:
    await asyncio.sleep(0.1)
    return (await readiness(world))[0] == 200
