"""A device's identity and its machine: copies are noticed, images carry none, and the local root has the last word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_process import WITHIN_S, AgentProcess, wait_until
from tests.support.device_world import Device, DeviceWorld
from tests.support.machines import copied, machine, needs_machines

pytestmark = needs_machines


@pytest.fixture(scope="module")
def begun() -> Iterator[DeviceWorld]:
    with asyncio.Runner() as runner:
        beginning = DeviceWorld.begin()
        yield runner.run(beginning.__aenter__())
        runner.run(beginning.__aexit__(None, None, None))


@pytest.fixture
def world(begun: DeviceWorld) -> Iterator[DeviceWorld]:
    """One relay for all tests; their agents end with each."""
    yield begun
    for device in begun.devices:
        device.agent.kill()


def joined(world: DeviceWorld, on: str, *, uses: int = 100) -> Device:
    device = world.stranger()
    device.agent.prefix = machine(world.folder, on)
    device.id = device.agent.join(world.token(uses=uses))
    return device


def clone(world: DeviceWorld, device: Device, on: str) -> Device:
    """A copy of its disk in another machine. id: still the old one."""
    other = world.stranger()
    other.agent = AgentProcess(copied(device.agent.state, other.agent.state))
    other.agent.prefix = machine(world.folder, on)
    other.id = device.id
    return other


async def approve(world: DeviceWorld, device: Device) -> None:
    shown = await device.shown()
    statement = json.loads(shown.enrolment.payload)
    technician = world.organisation.technician()
    record = world.organisation.record(device.id, "clinic", by=technician, sealing_key=statement["sealing_key"])
    async with world.client() as client:
        bearer = await world.organisation.login(client, technician)
        await client.request("PUT", f"/v1/devices/{device.id}/record", None, body=record, bearer=bearer)


def keys(state: Path) -> set[bytes]:
    return {path.read_bytes() for path in state.rglob("device_key")}


async def test_a_copied_disk_makes_a_device_of_its_own_and_sends_nothing_of_the_old_one(world: DeviceWorld) -> None:
    device = joined(world, "a")
    device.agent.start()
    await approve(world, device)
    device.agent.wait_status(lambda status: not status["provisional"], "it has its record")
    device.agent.wait_reported()
    device.agent.stop()
    device.agent.start()  # on its own machine it is what it was
    device.agent.wait_reported()
    device.agent.stop()
    await world.relay.stop()
    (device.agent.state / "reports.json").unlink(missing_ok=True)
    device.agent.start()
    wait_until(device.spooled, "a report waits")
    device.agent.kill()
    before, waiting = device.rows(), device.spooled()
    await world.relay.start()

    other = clone(world, device, "b")
    assert other.agent.status()["machine_changed"]
    other.agent.start()
    other.agent.wait_reported()
    status = other.agent.status()
    other.id = status["device"]
    assert other.id != device.id
    assert status["provisional"] and not status["machine_changed"]
    shown = await other.shown()
    assert shown.record is None and shown.suggested_tags == ()
    assert other.rows()[0][0] == 1
    assert not {sha256 for _, sha256 in other.rows()} & set(waiting.values())
    assert device.rows() == before, "nothing was said in the old one's name"
    entries = other.agent.journal()
    assert [entry["event"] for entry in entries][:3] == ["put_aside", "joined", "started"]
    assert entries[0]["device"] == device.id
    aside = other.agent.state / "aside-1"
    assert keys(aside) == keys(device.agent.state)
    assert (aside / "spool.sqlite").exists() and (aside / "record.json").exists()

    device.agent.start()  # and the original has noticed nothing
    device.agent.wait_reported()
    assert device.agent.status()["device"] == device.id


async def test_a_clone_without_a_token_stops_and_says_what_to_do(world: DeviceWorld) -> None:
    device = joined(world, "a", uses=1)
    assert clone(world, device, "c").agent.join(world.token()) != device.id, "joining anew needs no start in between"
    other = clone(world, device, "b")
    stopped = other.agent.command("run")
    assert stopped.returncode == 6
    assert "came from another machine, and were put aside" in stopped.stderr
    assert device.id in stopped.stderr  # the log's warning says whose
    assert "auxilio-agent join TOKEN" in stopped.stderr and "same-machine" in stopped.stderr
    other.agent.environment["LC_ALL"] = "es_ES.UTF-8"
    assert "debe volver a unirse" in other.agent.command("status").stderr
    other.agent.environment["LC_ALL"] = "C.UTF-8"
    assert [entry["event"] for entry in other.agent.journal()] == ["put_aside"]
    new = other.agent.join(world.token(uses=1))
    assert new != device.id

    back = other.agent.command("same-machine")
    assert back.returncode == 0, back.stderr
    assert other.agent.status()["device"] == device.id
    assert [entry["event"] for entry in other.agent.journal()] == ["same_machine"]
    other.agent.start()
    other.agent.wait_reported()
    running = other.agent.command("same-machine")
    assert running.returncode == 6 and "already running" in running.stderr
    other.agent.stop()
    left = other.agent.command("leave")
    assert left.returncode == 0, left.stderr
    assert keys(other.agent.state) == set(), "what was put aside is forgotten, too"


async def test_each_copy_of_an_image_joins_as_itself(world: DeviceWorld) -> None:
    master = joined(world, "a")
    master.agent.start()
    master.agent.wait_reported()
    refused = master.agent.command("prepare-image")
    assert refused.returncode == 6 and "already running" in refused.stderr
    master.agent.stop()
    key = keys(master.agent.state)
    done = json.loads(master.agent.command("prepare-image", "--json").stdout)
    assert done["device"] == master.id and done["uses"] == 100 and done["machine_id_is_set"]
    assert {"membership.json", "device_key", "sealing_key", "spool.sqlite", "journal.jsonl"} <= set(done["removed"])
    left = {path.name for path in master.agent.state.iterdir()}
    assert left <= {"join_token", "lock"}
    assert (master.agent.state / "join_token").stat().st_mode & 0o777 == 0o600
    waits = master.agent.command("status")
    assert waits.returncode == 6 and "has not joined yet" in waits.stderr

    copies = [clone(world, master, name) for name in ("b", "c")]
    await world.relay.stop()
    for copy in copies:
        copy.agent.start()
    for copy in copies:
        wait_until(lambda copy=copy: "cannot join yet" in copy.agent.said(), "it has tried")
    await world.relay.start()
    for copy in copies:
        copy.agent.wait_reported()
        copy.id = copy.agent.status()["device"]
        assert (await copy.shown()).record is None
    assert len({master.id, *(copy.id for copy in copies)}) == 3
    assert not key & (keys(copies[0].agent.state) | keys(copies[1].agent.state))


async def test_an_image_is_prepared_where_nothing_has_joined_yet(world: DeviceWorld, tmp_path: Path) -> None:
    master = world.stranger()
    master.agent.state.mkdir(mode=0o700)
    without = master.agent.command("prepare-image")
    assert without.returncode == 6 and "no join token" in without.stderr
    (tmp_path / "token").write_text(world.token(uses=7))
    done = master.agent.command("prepare-image", "--file", str(tmp_path / "token"))
    assert done.returncode == 0 and "7 devices at most" in done.stdout
    expired = master.agent.command("prepare-image", world.token(valid_s=1, since_s=300))
    assert expired.returncode == 6 and "expired" in expired.stderr


async def test_a_copy_on_the_very_same_machine_is_noticed_by_the_link_that_is_replaced(world: DeviceWorld) -> None:
    device = joined(world, "a")
    twin = clone(world, device, "a")
    device.agent.start()
    device.agent.wait_linked()
    twin.agent.start()
    both = (device.agent, twin.agent)
    wait_until(lambda: any(agent.journal("link_replaced") for agent in both), "a copy is noticed")
    deadline = asyncio.get_running_loop().time() + WITHIN_S
    while (await device.shown()).presence.offline_reason != "the relay closed the link: replaced":
        assert asyncio.get_running_loop().time() < deadline, "the relay was told why, and shows it"
        await asyncio.sleep(0.1)
