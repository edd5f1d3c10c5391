"""A disk that is full or read-only, and a state directory that is another account's: said, and nothing is lost.

Each disk is a tmpfs of a few KiB, and each account a real one: the words are the kernel's own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from protocol.codec import encode
from protocol.errors import EXIT_CONFIG, EXIT_UNAVAILABLE
from protocol.policy import PolicyBundle
from tests.support.agent_process import wait_until
from tests.support.agent_state import NO_RELAY, contents, join_offline
from tests.support.device_world import DeviceWorld
from tests.support.organisation import UNATTENDED, Organisation
from tests.support.small_disk import IS_ROOT, SmallDisk, is_possible, small_disk

AGENT = (sys.executable, "-m", "agent.main")
SIZE_KIB = 1024
NOBODY = 65534

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not is_possible(), reason="mounting is not allowed here, even in a namespace"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[DeviceWorld]:
    async with DeviceWorld.begin() as world:
        yield world


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with small_disk(SIZE_KIB) as disk:
        yield disk


def complaint(text: str) -> str:
    lines = text.splitlines()
    assert len(lines) == 2 and lines[0].startswith("auxilio-agent: ") and lines[1].startswith("hint: "), text
    return text


def agent(disk: SmallDisk, status: int, *arguments: str, text: str | None = None) -> str:
    """Run a command on the state directory `state` of the disk; return what it printed where it is to be read."""
    done = disk.run(*AGENT, *arguments, "--state", str(disk.path / "state"), text=text)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout if status == 0 else complaint(done.stderr)


async def test_a_join_for_which_the_disk_has_no_room_says_so_and_goes_on_when_it_has(
    world: DeviceWorld, disk: SmallDisk
) -> None:
    """Every amount of room up to the one that suffices: each file in its turn is the one that does not fit."""
    token = world.token(uses=1)
    state = disk.outside / "state"
    for blocks in range(64):
        disk.fill(leave=blocks * 4096)
        done = disk.run(*AGENT, "join", token, "--state", str(disk.path / "state"))
        if done.returncode == 0:
            break
        assert done.returncode == EXIT_UNAVAILABLE, done.stderr
        assert "the disk is full" in complaint(done.stderr)
        assert not (state / "membership.json").exists()
        assert not list(state.glob(".*.new")), "what did not fit is removed"
    assert blocks >= 3, "some of the files were the one that did not fit"
    disk.free()
    status = json.loads(agent(disk, 0, "status", "--json"))
    assert status["policy"]["number"] == 1 and status["charter"] == 1


async def test_reports_wait_for_room_and_arrive(world: DeviceWorld, disk: SmallDisk) -> None:
    device = world.stranger()
    device.agent.state = disk.path / "state"
    device.id = json.loads(agent(disk, 0, "join", "--json", "-", text=world.token()))["device"]
    device.agent.run_arguments = ("--look-every", "0.2")
    device.agent.start(*disk.prefix, "unshare", "--uts", "sh", "-c", 'hostname first; exec "$@"', "-")
    try:
        wait_until(lambda: device.hostname() == "first", "reported")
        device.agent.stop()  # with it goes the room that its database had taken beforehand
        disk.fill()
        device.agent.start(*disk.prefix, "unshare", "--uts", "sh", "-c", 'hostname second; exec "$@"', "-")

        def delayed() -> bool:
            return "disk is full" in device.agent.said() or "disk_full" in device.agent.said()

        wait_until(delayed, f"the full disk is noticed: {device.agent.said()}")
        status = json.loads(agent(disk, 0, "status", "--json"))
        assert status["running"] and status["linked"], "it stays reachable"
        assert agent(disk, 0, "log", "-n", "5")
        disk.free()
        wait_until(lambda: device.hostname() == "second", f"what waited arrives: {device.agent.said()[-1000:]}")
    finally:
        device.agent.kill()


async def test_a_policy_that_does_not_fit_is_not_half_there(disk: SmallDisk) -> None:
    organisation = Organisation(NO_RELAY, consent=UNATTENDED)
    join_offline(disk.outside / "state", organisation)
    before = contents(disk.outside / "state")
    organisation.next_charter()
    organisation.publish_policy()
    bundle = PolicyBundle(charters=tuple(organisation.charters), policy=organisation.policies[-1])
    text = encode(bundle).decode()
    disk.fill()
    assert "the disk is full" in agent(disk, EXIT_UNAVAILABLE, "policy", "import", "-", text=text)
    assert contents(disk.outside / "state") == before
    disk.free()
    assert "number 2" in agent(disk, 0, "policy", "import", "-", text=text)


async def test_reading_and_leaving_need_no_room(disk: SmallDisk) -> None:
    join_offline(disk.outside / "state", Organisation(NO_RELAY))
    disk.fill()
    assert not json.loads(agent(disk, 0, "status", "--json"))["running"]
    assert agent(disk, 0, "log")
    assert agent(disk, 0, "leave")
    assert not (disk.outside / "state" / "device_key").exists()


async def test_a_read_only_disk_is_named_and_can_be_read(disk: SmallDisk) -> None:
    organisation = Organisation(NO_RELAY)
    join_offline(disk.outside / "state", organisation)
    before = contents(disk.outside / "state")
    organisation.publish_policy()
    bundle = encode(PolicyBundle(policy=organisation.policies[-1])).decode()
    disk.read_only(True)
    assert not json.loads(agent(disk, 0, "status", "--json"))["running"]
    assert agent(disk, 0, "log")
    for arguments in (("run",), ("leave",), ("policy", "import", "-")):
        said = agent(disk, EXIT_CONFIG, *arguments, text=bundle)
        assert "Read-only" in said
    token = organisation.join_token().text()
    done = disk.run(*AGENT, "join", token, "--state", str(disk.path / "other"))
    assert done.returncode == EXIT_CONFIG
    complaint(done.stderr)
    assert contents(disk.outside / "state") == before


# -- accounts ---------------------------------------------------------------------------------------------------------

as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: another account is to be tried")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@as_root
async def test_an_account_that_may_not_enter_the_state_directory_is_told_so(disk: SmallDisk, tmp_path: Path) -> None:
    organisation = Organisation(NO_RELAY)
    join_offline(disk.outside / "state", organisation)
    before = contents(disk.outside / "state")
    bundle = encode(PolicyBundle(policy=organisation.policies[-1])).decode()
    for command in ("run", "status", "log", "allow", "deny", "revoke", "leave", "policy import -", "join -"):
        text = organisation.join_token().text() if command == "join -" else bundle
        words = [*command.split(), "--state", str(disk.path / "state")]
        done = disk.run(*AS_NOBODY, *AGENT, *words, text=text)
        assert done.returncode == EXIT_CONFIG, (command, done.stderr)
        assert "account" in complaint(done.stderr)
    assert contents(disk.outside / "state") == before


@as_root
async def test_root_uses_no_state_directory_that_another_account_could_put_links_into(disk: SmallDisk) -> None:
    join_offline(disk.outside / "state", Organisation(NO_RELAY))
    shutil.chown(disk.outside / "state", NOBODY, NOBODY)
    for command in ("run", "leave"):
        assert "another account" in agent(disk, EXIT_CONFIG, command)
    (disk.outside / "empty").mkdir()
    shutil.chown(disk.outside / "empty", NOBODY, NOBODY)
    token = Organisation(NO_RELAY).join_token().text()
    done = disk.run(*AGENT, "join", token, "--state", str(disk.path / "empty"))
    assert done.returncode == EXIT_CONFIG and "another account" in complaint(done.stderr)


@as_root
async def test_a_file_that_the_agent_may_not_read_is_named(disk: SmallDisk) -> None:
    join_offline(disk.outside / "state", Organisation(NO_RELAY))
    for path in (disk.outside / "state", *(disk.outside / "state").rglob("*")):
        shutil.chown(path, NOBODY, NOBODY)
    for name in ("device_key", "policy.json", "journal.jsonl", "lock", "membership.json"):
        path = disk.outside / "state" / name
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        shutil.chown(path, 0, 0)
        path.chmod(0o600)
        command = "log" if name == "journal.jsonl" else "run"
        done = disk.run(*AS_NOBODY, *AGENT, command, "--state", str(disk.path / "state"))
        assert done.returncode == EXIT_CONFIG, (name, done.stderr)
        assert name in complaint(done.stderr)
        shutil.chown(path, NOBODY, NOBODY)
