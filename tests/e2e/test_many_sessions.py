"""Many sessions, one after the other and at once: each is whole, and nothing of any stays at agent and relay."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from console.commands.reaching import Visit, connected
from console.home import Home
from tests.support.agent_process import AgentProcess, wait_until
from tests.support.effort import LONG
from tests.support.session_world import session_children
from tests.support.world import World

CYCLES = 1000 if LONG else 30
WARM_UP = 20 if LONG else 6
GROWTH_BYTES = (16 if LONG else 8) * 1024 * 1024
ON_ONE_DEVICE = 50
SESSIONS, DEVICES = (500, 8) if LONG else (24, 2)
SHELLS, SHELL_DEVICES = (200, 4) if LONG else (12, 1)
PAYLOAD_BYTES = 256 * 1024
AT_ONCE = 10
"""Opened at the same time: what is measured is that they live together, not how fast two processors start them."""

AT_WORK = 50
"""... or how evenly a system shares them out among hundreds of processes."""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin()
    yield world
    world.end()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


async def open_and_close(world: World, count: int) -> None:
    home = Home(world.folder / world.home_name)
    for number in range(count):
        async with connected(home, world.device, Visit(), ("shell",), "a cycle") as (connection, _):
            done = await connection.run(f"echo {number}")
            assert done.stdout == f"{number}\n"


def test_sessions_that_come_and_go_leave_nothing_behind(world: World) -> None:
    pids = {"agent": world.agent.pid, "relay": world.relay.pid}
    asyncio.run(open_and_close(world, WARM_UP))
    world.agent.wait_status(lambda s: not s["sessions"], "the last session is over")
    before = {name: (descriptors(pid), threads(pid), resident(pid)) for name, pid in pids.items()}
    asyncio.run(open_and_close(world, CYCLES))
    world.agent.wait_status(lambda s: not s["sessions"], "the last session is over")
    wait_until(lambda: not world.session_children(), "no process of a session is left")
    for name, pid in pids.items():
        was = before[name]
        wait_until(lambda pid=pid, was=was: descriptors(pid) <= was[0] + 2, f"the {name}'s descriptors are closed")
        assert threads(pid) <= was[1] + 4, name
        assert resident(pid) - was[2] < GROWTH_BYTES, f"{name} grew by {resident(pid) - was[2]} bytes"


def payload_hash(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


async def echo_hash(connection: asyncssh.SSHClientConnection, payload: bytes) -> str:
    done = await connection.run("cat", input=payload, encoding=None)
    assert isinstance(done.stdout, bytes)
    return payload_hash(done.stdout)


async def all_at_once(visits: list[tuple[Home, str]]) -> int:
    """Hold a session for each of `visits`; each echoes bytes of its own while all are open. Returns how many were."""
    opening, working = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_WORK)
    everybody = asyncio.Barrier(len(visits))
    payloads = [os.urandom(PAYLOAD_BYTES) for _ in visits]

    async def visit(number: int) -> bool:
        home, device = visits[number]
        await opening.acquire()
        try:
            async with connected(home, device, Visit(), ("shell",), "many at once") as (connection, _):
                opening.release()
                await everybody.wait()
                async with working:
                    same = await echo_hash(connection, payloads[number]) == payload_hash(payloads[number])
                await everybody.wait()
                return same
        except BaseException:
            await everybody.abort()
            raise

    gc.collect()
    return sum(await asyncio.gather(*(visit(number) for number in range(len(visits)))))


def test_fifty_sessions_at_once_on_one_device(world: World) -> None:
    home = Home(world.folder / world.home_name)
    assert asyncio.run(all_at_once([(home, world.device)] * ON_ONE_DEVICE)) == ON_ONE_DEVICE
    world.agent.wait_status(lambda s: not s["sessions"], "all sessions are over")


@contextlib.contextmanager
def visits(world: World, count: int, devices: int) -> Iterator[list[tuple[Home, str]]]:
    """`count` pairs of a technician's home and a device, over as many technicians as devices: one of either has 64 at
    most."""
    agents, ids = [world.agent], [world.device]
    homes = [Home(world.folder / world.home_name)]
    try:
        for number in range(1, devices):
            agent = AgentProcess(world.folder / f"agent{number}")
            agents.append(agent)
            world._make_device(agent, ("lab",))
            ids.append(world.device)
            world.technician(f"tech{number}")
            homes.append(Home(world.folder / world.login(f"tech{number}").home_name))
        yield [(homes[n % devices], ids[n % devices]) for n in range(count)]
        for agent in agents:
            agent.wait_status(lambda s: not s["sessions"], "all sessions are over")
            wait_until(lambda agent=agent: not session_children(agent.pid), "no process of a session is left")
    finally:
        world.device = ids[0]
        for agent in agents[1:]:
            agent.stop()
            shutil.rmtree(agent.state, ignore_errors=True)


def test_many_sessions_through_one_relay(world: World) -> None:
    with visits(world, SESSIONS, DEVICES) as wanted:
        assert asyncio.run(all_at_once(wanted)) == SESSIONS


async def through_a_restart(world: World, wanted: list[tuple[Home, str]]) -> int:
    """Open a shell for each; restart the relay while all are open and something is on its way. How many went on."""
    opening, everybody = asyncio.Semaphore(AT_ONCE), asyncio.Barrier(len(wanted) + 1)

    async def visit(number: int, home: Home, device: str) -> bool:
        await opening.acquire()
        try:
            async with connected(home, device, Visit(), ("shell",), "through a restart") as (connection, _):
                opening.release()
                async with connection.create_process("cat") as shell:
                    shell.stdin.write(f"{number} before\n")
                    assert await shell.stdout.readline() == f"{number} before\n"
                    await everybody.wait()
                    for turn in range(20):
                        shell.stdin.write(f"{number} meanwhile {turn}\n")
                        await asyncio.sleep(0.1)
                    shell.stdin.write_eof()
                    heard = await shell.stdout.read()
                return heard == "".join(f"{number} meanwhile {turn}\n" for turn in range(20))
        except BaseException:
            await everybody.abort()
            raise

    async def restart() -> bool:
        await everybody.wait()
        await world.relay.restart()
        return True

    went_on = await asyncio.gather(restart(), *(visit(n, *each) for n, each in enumerate(wanted)))
    return sum(went_on) - 1


def test_a_restart_of_the_relay_loses_no_open_shell(world: World) -> None:
    with visits(world, SHELLS, SHELL_DEVICES) as wanted:
        assert asyncio.run(through_a_restart(world, wanted)) == SHELLS
