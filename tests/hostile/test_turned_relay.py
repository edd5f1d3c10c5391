"""A relay that has turned, between a real console and a real agent: it can end a session, and cannot change one.

Before the key exchange, in the middle of it, and after it; with what it recorded of other sessions at hand.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_process import WITHIN_S
from tests.support.effort import LONG
from tests.support.turned_relay import KINDS
from tests.support.world import World

LINES = 400
COMMAND = f"i=0; while [ $i -lt {LINES} ]; do echo line $i of what the device says; i=$((i+1)); done"
WHOLE = "".join(f"line {i} of what the device says\n" for i in range(LINES))

MOMENTS = {"greeting": 0, "key exchange": 1, "session": 8}
"""After so many messages of a leg. The first is SSH's version, the key exchange is over after some five."""

SILENT = {("truncate", "greeting"), ("truncate", "key exchange"), ("reorder", "greeting"), ("reorder", "key exchange")}
"""Both ends wait for what does not come: a minute, until the time for logging in is over."""

SHORT = {("flip", "key exchange"), ("splice", "key exchange"), ("replay", "greeting"), ("junk", "greeting")}
CASES = [
    (kind, moment)
    for kind in KINDS
    for moment in MOMENTS
    if LONG or ((moment == "session" or (kind, moment) in SHORT) and (kind, moment) not in SILENT)
]

SSH_FAILED = 255
"""As ssh(1) says that there was no session, or that it ended by a fault."""

HARMLESS = frozenset({"duplicate"})
"""What arrived twice is taken once, by its offset."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin("lab", turned=True)
    # What it records of these, it will know later.
    for _ in range(3):
        assert world.console("ssh", world.device, "--", COMMAND) == WHOLE
    yield world
    world.end()


def attacked(world: World, kind: str, after: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    done = Path(f"{world.attack}.done")
    done.unlink(missing_ok=True)
    world.attack.write_text(f"{kind} {after}")
    try:
        result = subprocess.run(
            command, env=world.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=3 * WITHIN_S, check=False,
        )  # fmt: skip
    finally:
        world.attack.write_text("")
    assert done.exists(), "nothing was attacked"
    return result


@pytest.mark.parametrize(("kind", "moment"), CASES, ids=[f"{kind}-{moment}" for kind, moment in CASES])
def test_it_ends_the_session_or_changes_nothing(world: World, kind: str, moment: str) -> None:
    words = world.auxilio("ssh", "--resume-for", "3s", world.device, "--", COMMAND)
    result = attacked(world, kind, MOMENTS[moment], words)
    assert WHOLE.startswith(result.stdout), "what the device never said was shown"
    if kind in HARMLESS or result.returncode == 0:
        assert (result.returncode, result.stdout) == (0, WHOLE), result.stderr
        return
    assert result.returncode == SSH_FAILED, result.stderr
    said = [line for line in result.stderr.splitlines() if line.startswith("auxilio: ")]
    assert said and len(said[-1]) > len("auxilio: ") and "Traceback" not in result.stderr, result.stderr


def test_afterwards_a_session_is_whole_again(world: World) -> None:
    assert world.console("ssh", world.device, "--", COMMAND) == WHOLE
    world.agent.wait_status(lambda status: not status["sessions"], "no session is left of all that")
    assert not world.session_children()
