"""Sessions that outlive their connections: by our console, and by stock ssh through `auxilio proxy`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent_process import WITHIN_S, wait_until
from tests.support.world import World
from transport.http import RelayClient
from transport.relay_address import parse_address

LINES = 150
COUNT = f"i=0; while [ $i -lt {LINES} ]; do echo $i; i=$((i+1)); sleep 0.02; done"
MIB = 1024 * 1024
CLIENTS = ["auxilio", "stock"]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin("lab")
    yield world
    world.end()


def client(world: World, name: str, *command: str) -> list[str]:
    return (
        world.auxilio("ssh", world.device, "--", *command)
        if name == "auxilio"
        else world.stock_ssh(world.host, *command)
    )


class Session:
    """A command on the device that runs; its output is in a file."""

    def __init__(
        self,
        world: World,
        folder: Path,
        name: str,
        line: str,
        *,
        stdin: bool = False,
        command: list[str] | None = None,
    ) -> None:
        # The test before may have ended while the device was still on its way back.
        wait_until(lambda: json.loads(world.console("devices", "online", "--json")), "the device is online")
        self.out, self.err = folder / "out", folder / "err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                command or client(world, name, line),
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=world.environment,
            )

    def wait_lines(self, count: int) -> None:
        def came() -> bool:
            assert self.process.poll() is None or self.out.read_bytes().count(b"\n") >= count, self.said
            return self.out.read_bytes().count(b"\n") >= count

        wait_until(came, f"{count} lines came")

    def end(self) -> tuple[int, bytes]:
        status = self.process.wait(2 * WITHIN_S)
        return status, self.out.read_bytes()

    @property
    def said(self) -> str:
        return self.err.read_text()


def kill_relay(world: World) -> None:
    asyncio.run(world.relay.kill())


def start_relay(world: World) -> None:
    asyncio.run(world.relay.start())


@pytest.mark.parametrize("name", CLIENTS)
def test_what_runs_goes_on_when_the_relay_was_killed_and_came_back(world: World, tmp_path: Path, name: str) -> None:
    session = Session(world, tmp_path, name, COUNT + "; exit 7")
    session.wait_lines(20)
    for _ in range(2):
        kill_relay(world)
        before = session.out.read_bytes().count(b"\n")
        time.sleep(0.3)
        start_relay(world)
        session.wait_lines(min(before + 10, LINES))
    status, out = session.end()
    assert status == 7, session.said
    assert out.split() == [b"%d" % i for i in range(LINES)]
    assert "the connection was lost, reconnecting" in session.said and "connected again" in session.said


@pytest.mark.parametrize("name", CLIENTS)
def test_a_transfer_goes_on_and_what_is_typed_meanwhile_arrives(world: World, tmp_path: Path, name: str) -> None:
    data = os.urandom(MIB) * 24
    session = Session(world, tmp_path, name, "echo there; sha256sum", stdin=True)
    assert session.process.stdin is not None
    session.wait_lines(1)
    half = len(data) // 2
    session.process.stdin.write(data[:half])
    kill_relay(world)
    session.process.stdin.write(data[half : half + 1000])
    session.process.stdin.flush()
    start_relay(world)
    session.process.stdin.write(data[half + 1000 :])
    session.process.stdin.close()
    status, out = session.end()
    assert status == 0, session.said
    assert out.split()[1].decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", CLIENTS)
def test_a_device_that_stood_still_goes_on(world: World, tmp_path: Path, name: str) -> None:
    session = Session(world, tmp_path, name, COUNT)
    session.wait_lines(20)
    stopped = [world.agent.pid, *world.session_children()]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    status, out = session.end()
    assert (status, out.split()) == (0, [b"%d" % i for i in range(LINES)]), session.said


def end_session(world: World, session: str) -> None:
    """As a console does that was given up."""

    async def end() -> None:
        async with RelayClient(parse_address(world.relay.url, world.relay.pin), bearer=world.bearer()) as client:
            await client.request("DELETE", f"/v1/sessions/{session}", None)

    asyncio.run(end())


def restart(world: World, *options: str) -> None:
    world.agent.stop()
    world.agent.run_arguments = options
    world.agent.start()
    world.agent.wait_linked()


def hung_up(world: World, mark: str) -> bool:
    return not subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False).stdout


def test_after_its_patience_the_device_hangs_up_what_ran_and_says_why(world: World, tmp_path: Path) -> None:
    restart(world, "--resume-for", "4s")
    try:
        session = Session(world, tmp_path, "auxilio", "echo there; sleep 98765")
        session.wait_lines(1)
        session.process.kill()
        session.process.wait()
        wait_until(lambda: [s["state"] for s in world.agent.status()["sessions"]] == ["away"], "the device waits")
        assert not hung_up(world, "98765")
        wait_until(lambda: not world.agent.status()["sessions"], "the device waits no longer")
        [ended] = world.agent.journal("session_ended")[-1:]
        assert ended["reason"] == "lost" and "did not come back within 4 s" in ended["message"]
        wait_until(lambda: hung_up(world, "98765"), "what ran is hung up")
    finally:
        restart(world)


def test_after_its_patience_the_console_says_why_and_the_device_is_told_when_it_can_be(
    world: World, tmp_path: Path
) -> None:
    words = world.auxilio("ssh", "--resume-for", "3s", world.device, "--", "echo there; sleep 98766")
    session = Session(world, tmp_path, "auxilio", "", command=words)
    session.wait_lines(1)
    kill_relay(world)
    status, _ = session.end()
    assert status == 255
    assert "did not come back within 3 s" in session.said
    assert not hung_up(world, "98766")
    [live] = world.agent.status()["sessions"]
    start_relay(world)
    world.agent.wait_linked()
    # Nobody waits for it any more; whoever says so before the device has lost its own patience spares it that.
    wait_until(lambda: world.run(world.auxilio("devices")).returncode == 0, "the relay serves")
    end_session(world, live["session"])
    wait_until(lambda: hung_up(world, "98766"), "what ran is hung up")
