"""The agent's control socket before a technician's process that wants to answer for the customer, or keep them away."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent import control
from agent.control import MAX_PEERS_OF_ONE, ControlRequest, ControlServer, Peer, ask, check_peer
from agent.platform import is_inside

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")

OWN = os.geteuid() if hasattr(os, "geteuid") else 0

CONNECT_AND_HAND_ON = """
import os, socket, sys
peer = socket.socket(socket.AF_UNIX)
if os.fork() == 0:
    peer.connect(sys.argv[1])
    os._exit(0)
os.wait()
peer.sendall(b'{"command":"allow"}\\n')
sys.stdout.buffer.write(peer.recv(4096))
"""
"""The kernel names whoever called connect(2); by the time anything is read, that one is gone."""

ASK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
peer.sendall(b'{"command":"allow"}\\n')
sys.stdout.buffer.write(peer.recv(4096))
"""


class Desk:
    """What the supervisor does with a request: leaders is whom the test says are technicians' processes."""

    def __init__(self, path: Path) -> None:
        self.leaders: Callable[[], frozenset[int]] = frozenset
        self.path = path
        self.server = ControlServer(path, self.handle, own_uid=OWN, leaders=lambda: self.leaders())

    async def handle(self, request: ControlRequest, peer: Peer) -> dict[str, Any]:
        check_peer(request, peer, own_uid=OWN, present_uids=frozenset())
        return {"done": request.command}

    async def script(self, text: str, *, background: bool = False) -> dict[str, Any]:
        """Run a Python script in a kernel session of its own, and return the answer that it got."""
        command = [sys.executable, "-c", text, str(self.path)]
        process = await asyncio.create_subprocess_exec(
            *(["sh", "-c", '"$@" & wait', "-", *command] if background else command),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if self.leaders is not frozenset:
            self.leaders = lambda: frozenset({process.pid})
        out, _ = await process.communicate()
        answer: dict[str, Any] = json.loads(out)
        return answer


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path / "control.sock")
    await desk.server.start()
    yield desk
    await desk.server.close()


async def test_somebody_who_is_no_technicians_process_may_answer(desk: Desk) -> None:
    assert (await desk.script(ASK))["result"] == {"done": "allow"}


@pytest.mark.parametrize("background", [False, True])
async def test_a_process_of_a_session_may_not(desk: Desk, background: bool) -> None:
    desk.leaders = frozenset[int]().copy
    assert (await desk.script(ASK, background=background))["code"] == "inside_session"


async def test_a_socket_whose_connector_has_left_answers_for_nobody(desk: Desk) -> None:
    """Looked at in time, it is of the session; else it is gone, and may have been."""
    desk.leaders = frozenset[int]().copy
    assert (await desk.script(CONNECT_AND_HAND_ON))["code"] == "inside_session"


async def test_a_session_that_holds_every_place_it_can_have_keeps_nobody_else_away(desk: Desk) -> None:
    desk.leaders = lambda: frozenset({os.getpid()})
    held = []
    for _ in range(2 * MAX_PEERS_OF_ONE):
        peer = socket.socket(socket.AF_UNIX)
        peer.connect(str(desk.path))
        held.append(peer)
    await asyncio.sleep(0.2)  # they are taken, and looked at, in turn
    desk.leaders = frozenset
    assert await asyncio.to_thread(ask, desk.path, "deny") == {"done": "deny"}
    for peer in held:
        peer.close()


async def test_who_connects_and_asks_nothing_is_sent_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ASKS_WITHIN_S", 0.1)
    reader, writer = await asyncio.open_unix_connection(str(desk.path))
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()


def test_of_a_connector_that_is_gone_before_it_is_looked_at_nobody_can_tell(tmp_path: Path) -> None:
    path = str(tmp_path / "listening")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        connect = "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); os._exit(0)"
        subprocess.run([sys.executable, "-c", connect, path], check=True)
        peer, _ = listening.accept()
        with peer:
            assert is_inside(peer, frozenset)
        with socket.socket(socket.AF_UNIX) as ours:
            ours.connect(path)
            peer, _ = listening.accept()
            with peer:
                assert not is_inside(peer, frozenset)
                assert is_inside(peer, lambda: frozenset({os.getpid()}))
