"""A relay that has turned, where two ends come to it again, or for the first time: joined to the wrong ones, told what
was never said, and with frames that no relay sends. As in test_turned_relay.py, it can end a session and change none.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.agent_process import WITHIN_S, AgentProcess, wait_until
from tests.support.footprint import MIB, peak
from tests.support.turned_relay import FRAMES, ON_RETURN
from tests.support.world import World

LINES = 150
LONGER = 1500
"""Of one that waits for another to begin, and that nobody sees to its end."""
SSH_FAILED = 255
HARMLESS = {"resume-back", "resume-twice"}
"""May be harmless: bytes that come again are dropped by their offset, if they are still kept to be sent again."""

CONSOLE_BOUND, CHILD_BOUND = 160 * MIB, 80 * MIB


def counting(name: str, lines: int) -> str:
    return f"i=0; while [ $i -lt {lines} ]; do echo {name} $i; i=$((i+1)); sleep 0.02; done"


def whole(name: str, lines: int = LINES) -> str:
    return "".join(f"{name} {i}\n" for i in range(lines))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin("lab", turned=True)
    yield world
    world.end()


@pytest.fixture(autouse=True)
def nobody_is_left(world: World) -> Iterator[None]:
    """What a test began at the device has ended, or waits for its technician, whose word a relay can withhold."""
    yield
    nobody_is_connected(world.agent)


def nobody_is_connected(agent: AgentProcess) -> None:
    status = agent.wait_status(lambda s: all(x["state"] == "away" for x in s["sessions"]), "nobody is connected")
    if status["sessions"]:
        agent.command("revoke")
    agent.wait_status(lambda status: not status["sessions"], "nobody is left there")


def impatient(world: World) -> Path:
    """Stock ssh's configuration, with which a session that is lost is not waited for for ten minutes."""
    config = world.ssh_config()
    shorter = config.with_name("ssh_config_impatient")
    shorter.write_text(config.read_text().replace(" proxy ", " proxy --resume-for 3s "))
    return shorter


class Visit:
    """`auxilio ssh`, or stock ssh, that counts up with `name` before each number."""

    def __init__(self, world: World, name: str, *, device: str = "", stock: bool = False, lines: int = LINES) -> None:
        device, command = device or world.device, counting(name, lines)
        self.said = whole(name, lines)
        words = world.auxilio("ssh", "--resume-for", "3s", device, "--", command)
        if stock:
            words = ["ssh", "-F", str(impatient(world)), "-o", "BatchMode=yes", f"{device}.auxilio", command]
        self.process = subprocess.Popen(
            words, env=world.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def result(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=3 * WITHIN_S)
        return self.process.returncode, out.decode(), err.decode()

    def ends(self, *, may_be_whole: bool = False) -> str:
        """It ended in one line, and nothing was shown but what its own session said; returns what was said of it."""
        status, out, said = self.result()
        assert self.said.startswith(out), f"what its session never said was shown: {out[-200:]}"
        if may_be_whole and status == 0:
            assert out == self.said
            return ""
        assert status == SSH_FAILED and "Traceback" not in said, said
        assert [line for line in said.splitlines() if line.strip()], "it said nothing"
        return said


class Attack:
    def __init__(self, world: World, words: str) -> None:
        self.world, self.words = world, words
        self.done = Path(f"{world.attack}.done")

    def __enter__(self) -> Attack:
        self.done.unlink(missing_ok=True)
        self.world.attack.write_text(f"{self.words} {time.monotonic_ns()}")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.world.attack.write_text("")
        assert kind is not None or self.done.exists(), "nothing was attacked"


TRIES = 3


def crossed(world: World, words: str, visits: Callable[[], list[Visit]]) -> list[str]:
    """What each visit said when two were joined crosswise. On a machine that is too busy to have both there at the same
    time, nothing is crossed: then they are made anew."""
    for attempt in range(TRIES):
        attack = Attack(world, words)
        try:
            with attack:
                return [visit.ends(may_be_whole=not attack.done.exists()) for visit in visits()]
        except AssertionError:
            if attack.done.exists() or attempt == TRIES - 1:
                raise
        nobody_is_connected(world.agent)
    raise AssertionError("unreachable")


@pytest.mark.parametrize("kind", ON_RETURN)
def test_a_lie_about_what_arrived_ends_the_session_or_changes_nothing(world: World, kind: str) -> None:
    with Attack(world, f"{kind} 12"):
        Visit(world, kind).ends(may_be_whole=kind in HARMLESS)


@pytest.mark.parametrize("stock", [False, True], ids=["auxilio", "stock"])
def test_two_sessions_that_are_joined_crosswise_when_they_come_again_both_end(world: World, stock: bool) -> None:
    """They are alike to the byte, so that the offsets of the one are good for the other. SSH's keys are not."""
    crossed(world, "cut-cross 12", lambda: [Visit(world, name, stock=stock, lines=LONGER) for name in ("one", "two")])


def test_two_sessions_that_are_joined_crosswise_at_first_both_end(world: World) -> None:
    said = crossed(world, "cross 0", lambda: [Visit(world, name) for name in ("one", "two")])
    assert any("did not admit this session's key" in text for text in said), said  # the other may find it ended


@pytest.fixture(scope="module")
def other(world: World) -> Iterator[tuple[AgentProcess, str]]:
    """A second device of the organisation, and its id."""
    agent = AgentProcess(world.folder / "agent-2")
    first = world.device
    try:
        world._make_device(agent, ("lab",))
        other, world.device = world.device, first
        yield agent, other
    finally:
        agent.stop()


@pytest.mark.parametrize("stock", [False, True], ids=["auxilio", "stock"])
def test_another_devices_leg_is_a_hard_failure_without_a_question(
    world: World, other: tuple[AgentProcess, str], stock: bool
) -> None:
    said = crossed(
        world,
        "cross 0",
        lambda: [Visit(world, "one", stock=stock), Visit(world, "two", device=other[1], stock=stock)],
    )
    # Whoever looks first hangs up, with a word on why: the other may hear that before it has looked itself.
    warned = [
        asked in text and ("pretends to be it" in text or "verification failed" in text)
        for text, asked in zip(said, (world.device, other[1]), strict=True)
    ]
    assert any(warned), said
    nobody_is_connected(other[0])


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_that_no_relay_sends_ends_the_session_and_fills_no_memory(world: World, kind: str) -> None:
    visit = Visit(world, kind)
    children: list[int] = wait_until(world.session_children, "the session's processes are there")
    peaks: dict[int, int] = {}
    with Attack(world, f"{kind} 0"):
        while visit.process.poll() is None:
            for pid in (visit.process.pid, *children):
                with suppress(OSError, AssertionError):  # it has ended meanwhile
                    peaks[pid] = peak(pid)
            time.sleep(0.005)
        visit.ends()
    assert peaks.pop(visit.process.pid) < CONSOLE_BOUND
    assert peaks and max(peaks.values()) < CHILD_BOUND
    wait_until(lambda: not world.session_children(), "nothing is left of it on the device")


def test_afterwards_a_session_is_whole_again(world: World) -> None:
    assert Visit(world, "after").result()[:2] == (0, whole("after"))
    world.agent.wait_status(lambda status: not status["sessions"], "no session is left of all that")
