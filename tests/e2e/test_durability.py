"""Reports survive: SIGKILL of either side while they are under way, and memory that either side lost.

    agent: collect -> spool (on disk) -> send -> ......................... -> forget
    relay:                                       commit (on disk) -> ack

Whatever the moment of the kill, every report ever made is in the spool or in the relay's database, with one hash.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from protocol.ids import sha256
from tests.support.agent_process import wait_until
from tests.support.device_world import UNSHARE, Device, DeviceWorld, named, renaming
from tests.support.effort import LONG

ROUNDS = 100 if LONG else 6
FRESH_ROWS = 2
"""Reports that arrive before the next kill: it happens while they do."""

LOOK_EVERY_S = "0.2"
BACK_WITHIN_S = 60.0
KEEP_ALL = "[store]\nreports_kept = 100000"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        os.system(f"{' '.join(UNSHARE)} true >/dev/null 2>&1") != 0,
        reason="namespaces are not allowed here",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[DeviceWorld]:
    async with DeviceWorld.begin(settings=KEEP_ALL) as world:
        yield world


class Ledger:
    """Every report that was ever seen on either side, and what may never be untrue of them."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.made: dict[int, str] = {}

    def check(self, *, device_is_dead: bool) -> None:
        """Whoever is dead is read first: it does not change, and reports go one way only."""
        if device_is_dead:
            spooled, last = self.device.spooled(), self.device.last_number()
            rows = self.device.rows()
        else:
            rows = self.device.rows()
            spooled = self.device.spooled()
            last = max([*spooled, *(number for number, _ in rows)], default=0)
        assert len(dict(rows)) == len(rows), "one row for each number"
        for number, digest in [*spooled.items(), *rows]:
            assert self.made.setdefault(number, digest) == digest, f"there are two reports {number}"
        lost = sorted(set(range(1, last + 1)) - set(dict(rows)) - set(spooled))
        assert not lost, f"forgotten by the device and never committed: {lost}"


async def test_nothing_acknowledged_is_lost_and_the_rest_arrives_once_however_often_either_side_is_killed(
    world: DeviceWorld,
) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    print(f"seed {seed}, {ROUNDS} rounds")
    device = world.device("--look-every", LOOK_EVERY_S)
    ledger, back_s = Ledger(device), []
    device.agent.start(*renaming(0.15))
    for round_ in range(ROUNDS):
        seen = len(device.rows())
        wait_until(lambda seen=seen: len(device.rows()) >= seen + FRESH_ROWS, f"reports arrive in round {round_}")
        time.sleep(rng.uniform(0.0, 0.3))  # any moment of a report's way, not only the one that was waited for
        victim = ("relay", "agent", "both")[round_ % 3]
        if victim != "agent":
            await world.relay.kill()
        if victim != "relay":
            device.agent.kill()
        ledger.check(device_is_dead=victim != "relay")
        if victim != "agent":
            await world.relay.start()
        started, seen = time.monotonic(), len(device.rows())
        if victim != "relay":
            device.agent.start(*renaming(0.15))
        wait_until(lambda seen=seen: len(device.rows()) > seen, f"reports arrive again after round {round_}")
        back_s.append((victim, time.monotonic() - started))
    device.agent.kill()
    device.agent.start(*named("final"))
    device.wait_reported("final")
    device.agent.stop()
    ledger.check(device_is_dead=True)
    rows = device.rows()
    assert [number for number, _ in rows] == list(range(1, device.last_number() + 1)), "every report, once"
    shown = await device.shown()
    assert shown.report is not None and sha256(shown.report.payload) == rows[-1][1]
    slowest = {victim: round(max(s for v, s in back_s if v == victim), 2) for victim, _ in back_s}
    print(f"{len(rows)} reports; reporting again after at most (s): {slowest}")
    assert max(s for _, s in back_s) < BACK_WITHIN_S


async def test_a_relay_that_goes_down_properly_has_its_agents_back_within_seconds(world: DeviceWorld) -> None:
    device = world.device()
    device.agent.start(*named("calm"))
    device.wait_reported("calm")
    await world.relay.restart()
    started = time.monotonic()
    while not (await device.shown()).presence.online:
        assert time.monotonic() < started + BACK_WITHIN_S, device.agent.said()
    print(f"back {time.monotonic() - started:.2f} s after the relay")
    assert (await device.shown()).presence.offline_reason


# -- memory that was lost ---------------------------------------------------------------------------------------------


def delete_spool(state: Path) -> None:
    for path in state.glob("spool.sqlite*"):
        path.unlink()


def damage_spool(state: Path) -> None:
    delete_spool(state)
    (state / "spool.sqlite").write_bytes(b"no database at all" * 1000)


def delete_known(state: Path) -> None:
    (state / "reports.json").unlink()


def damage_known(state: Path) -> None:
    (state / "reports.json").write_bytes(b"{")


def delete_both(state: Path) -> None:
    delete_spool(state)
    delete_known(state)


only_long = pytest.mark.skipif(not LONG, reason="long: make test-long")


@pytest.mark.parametrize(
    "lose",
    [
        delete_spool,
        delete_both,
        pytest.param(damage_spool, marks=only_long),
        pytest.param(delete_known, marks=only_long),
        pytest.param(damage_known, marks=only_long),
    ],
)
async def test_a_device_that_lost_its_memory_of_reports_tells_its_state_again(
    world: DeviceWorld, lose: Callable[[Path], None]
) -> None:
    """What it lost had not been sent: nothing but this tells the relay how the device is called now."""
    device = world.device()
    for name in ("first", "second"):
        device.agent.start(*named(name))
        device.wait_reported(name)
        device.agent.stop()
    committed = device.rows()
    await world.relay.kill()
    device.agent.start(*named("unsent"))
    wait_until(lambda: any(number > committed[-1][0] for number in device.spooled()), "the change is in the spool")
    device.agent.kill()
    lose(device.agent.state)
    await world.relay.start()
    device.agent.start(*named("unsent"))
    device.wait_reported("unsent")
    device.agent.stop()
    rows = device.rows()
    assert rows[: len(committed)] == committed and len(rows) > len(committed)
    moved = list(device.agent.state.glob("spool.sqlite.damaged-*"))
    assert len(moved) == (lose is damage_spool), "a damaged spool is kept aside"


async def test_a_relay_restored_from_a_backup_is_told_the_state_again_though_nothing_changed(
    world: DeviceWorld, tmp_path: Path
) -> None:
    device = world.device()
    device.agent.start(*named("before"))
    device.wait_reported("before")
    device.agent.stop()
    await world.relay.stop()
    shutil.copytree(world.relay.folder, tmp_path / "backup")
    await world.relay.start()
    device.agent.start(*named("after"))
    device.wait_reported("after")
    newest = device.rows()[-1][0]
    await world.relay.stop()
    shutil.rmtree(world.relay.folder)
    shutil.copytree(tmp_path / "backup", world.relay.folder)
    await world.relay.start()  # the agent ran all the while
    device.wait_reported("after")
    assert device.rows()[-1][0] > newest, "under a number that was never used"


@pytest.mark.parametrize("reports_since", [1, 2])
async def test_a_device_set_back_to_an_older_state_tells_its_state_and_gets_stuck_on_nothing(
    world: DeviceWorld, tmp_path: Path, reports_since: int
) -> None:
    """A reverted snapshot. reports_since: 1 makes it reuse exactly the newest number that the relay holds."""
    device = world.device()
    device.agent.start(*named("old"))
    device.wait_reported("old")
    device.agent.stop()
    shutil.copytree(device.agent.state, tmp_path / "snapshot")
    for name in ("newer", "newest")[:reports_since]:
        device.agent.start(*named(name))
        device.wait_reported(name)
        device.agent.stop()
    shutil.rmtree(device.agent.state)
    shutil.copytree(tmp_path / "snapshot", device.agent.state)
    device.agent.start(*named("reverted"))
    device.wait_reported("reverted")
