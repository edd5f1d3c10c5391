"""Session children are forked from one process that imported SSH once: it comes, serves, leaves, and may be lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from agent.platform import posix_child
from tests.support.session_world import SessionWorld, _processes, until


def nurseries() -> list[int]:
    return [pid for pid, parent, line in _processes() if parent == os.getpid() and "agent.session.nursery" in line]


async def test_sessions_share_a_nursery_and_it_leaves_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix_child, "KEPT_S", 0.5)
    async with SessionWorld() as world:
        assert nurseries() == []  # an idle agent carries none
        async with world.client() as one, world.client() as two:
            results = await asyncio.gather(*(client.run("echo $PPID") for client in (one, two)))
            assert [result.exit_status for result in results] == [0, 0]
            (nursery,) = nurseries()
            assert len(world.children()) == 2
            await asyncio.sleep(1)
            assert nurseries() == [nursery]  # not while there are sessions
        await until(lambda: not nurseries())
        async with world.client() as client:
            assert (await client.run("echo again")).stdout == "again\n"


async def test_a_nursery_that_is_killed_ends_its_sessions_and_the_next_one_gets_another() -> None:
    async with SessionWorld() as world:
        session = await world.start()
        client = await world.connect(session)
        await client.run("true")
        (nursery,) = nurseries()
        os.kill(nursery, signal.SIGKILL)
        assert (await world.ended(session)).reason == "failed"
        await until(lambda: not world.children())
        async with world.client() as other:
            assert (await other.run("echo fine")).stdout == "fine\n"


async def test_a_nursery_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix_child, "_command", lambda fd: ["/bin/false"])
    async with SessionWorld() as world:
        session = await world.start()
        ended = await world.ended(session)
        assert ended.reason == "failed" and "cannot start a session's process" in ended.message
        assert nurseries() == []


async def test_a_child_holds_none_of_the_nursery_s_sockets(tmp_path: Path) -> None:
    async with SessionWorld() as world, world.client() as one, world.client() as two:
        await asyncio.gather(one.run("true"), two.run("true"))
        (nursery,) = nurseries()
        control = {os.readlink(fd) for fd in Path(f"/proc/{nursery}/fd").iterdir() if "socket:" in os.readlink(fd)}
        assert len(control) == 1
        for child in world.children():
            held = {os.readlink(fd) for fd in Path(f"/proc/{child}/fd").iterdir()}
            assert not held & control
            assert os.getsid(child) == child
