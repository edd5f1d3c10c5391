"""A fleet moved to another relay, whose database is new: by a policy that the old one still passes on, and by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_process import AgentProcess
from tests.support.relay_process import RelayProcess
from tests.support.world import World


@pytest.fixture
def world() -> Iterator[World]:
    world = World.begin("lab")
    yield world
    world.end()


@pytest.fixture
def elsewhere(world: World) -> Iterator[RelayProcess]:
    relay = RelayProcess()
    asyncio.run(relay.init())
    asyncio.run(relay.add_organisation(world.organisation))
    asyncio.run(relay.start())
    yield relay
    asyncio.run(relay.stop())


def moved(world: World, elsewhere: RelayProcess) -> None:
    """The device is there, vouched for as before, and reached as before."""
    world.agent.wait_status(lambda s: s.get("linked") and s["relay"] == elsewhere.url, "the device is at the new relay")
    world.console("login", elsewhere.url, "--pin", elsewhere.pin)
    [device] = json.loads(world.console("devices", "tag:lab", "--json"))
    assert device["id"] == world.device
    done = world.run(world.auxilio("ssh", world.device, "--", "echo as before"))
    assert done.stdout == b"as before\n", done.stderr
    assert world.agent.journal("introduced")


def test_a_policy_moves_a_fleet_and_nobody_joins_or_approves_anew(world: World, elsewhere: RelayProcess) -> None:
    stays = world.agent
    newcomer = AgentProcess(world.folder / "newcomer")
    newcomer.join(json.loads(world.console("join-token", "create", "--json"))["join_token"])
    newcomer.start()
    try:
        newcomer.wait_linked()
        world.console("policy", "edit", "--relay", elsewhere.url, "--pin", elsewhere.pin, "--publish")
        world.agent = stays
        moved(world, elsewhere)
        # Nobody has vouched for this one: it is not known there, says so, and goes on trying.
        newcomer.wait_status(lambda s: not s["linked"] and "unknown_device" in s["last_failure"], "it is refused")
        assert not newcomer.journal("introduced")
    finally:
        newcomer.stop()


def test_a_fleet_leaves_a_relay_that_is_gone_with_a_policy_that_is_carried_by_hand(
    world: World, elsewhere: RelayProcess, tmp_path: Path
) -> None:
    asyncio.run(world.relay.kill())
    world.console("policy", "edit", "--relay", elsewhere.url, "--pin", elsewhere.pin)
    world.console("policy", "export", str(tmp_path / "policy"))
    done = world.agent.command("policy", "import", str(tmp_path / "policy"))
    assert done.returncode == 0, done.stderr
    world.run(world.auxilio("policy", "publish"))
    moved(world, elsewhere)
