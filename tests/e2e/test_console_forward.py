"""`auxilio forward`: a technician's browser on the customer's modem page, through a real relay and a real device."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import pytest

from tests.support.agent_process import wait_until
from tests.support.effort import LONG
from tests.support.session_world import free_port
from tests.support.world import World

BULK_BYTES = (256 if LONG else 8) * 1024 * 1024


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin()
    yield world
    world.end()


@contextmanager
def echo() -> Iterator[int]:
    """A server on the device that greets, echoes, and says `bye` at the end of its input."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with closing(connection), suppress(ConnectionResetError):  # the end of a session resets what it carried
            connection.sendall(b"hello ")
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.sendall(b"bye")

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def forwarding(world: World, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """`auxilio forward --json`, once it listens: the process and its ports."""
    command = world.auxilio("forward", "--json", world.device, *arguments)
    with subprocess.Popen(
        command, env=world.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            wanted = sum(":" in word for word in arguments)
            lines = [process.stdout.readline() for _ in range(wanted)]
            assert all(lines), process.stderr.read().decode()
            yield process, [int(json.loads(line)["listen"].rsplit(":", 1)[1]) for line in lines]
        finally:
            process.kill()


def all_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def test_programs_here_reach_what_the_device_reaches(world: World) -> None:
    payload = os.urandom(1024) * (BULK_BYTES // 1024)
    with (
        echo() as port,
        echo() as other,
        forwarding(world, f"0:localhost:{port}", f"0:127.0.0.1:{other}") as (process, ports),
    ):
        for ours in ports:
            with socket.create_connection(("127.0.0.1", ours), timeout=120) as connection:
                sending = threading.Thread(
                    target=lambda: (connection.sendall(payload), connection.shutdown(socket.SHUT_WR))
                )
                sending.start()
                assert all_of(connection) == b"hello " + payload + b"bye"
                sending.join()
        # More than a device takes at one time: the rest wait, none is lost.
        connections = [socket.create_connection(("127.0.0.1", ports[0]), timeout=120) for _ in range(80)]
        for connection in connections:
            connection.shutdown(socket.SHUT_WR)
        assert [all_of(connection) for connection in connections] == [b"hello bye"] * 80
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    entries = world.wait_journal("forward_open", 2)
    assert {entry["port"] for entry in entries[-2:]} == {port, other}
    world.agent.wait_status(lambda s: not s["sessions"], "the session ends with the command")


def test_a_program_that_does_not_read_holds_nobody_else_up(world: World) -> None:
    with echo() as port, forwarding(world, f"0:localhost:{port}") as (_, (ours,)):
        here = ("127.0.0.1", ours)
        with socket.create_connection(here, timeout=120) as stuck, socket.create_connection(here, timeout=120) as free:
            stuck.setblocking(False)
            with pytest.raises(BlockingIOError):  # everything on the way is full, and waits
                while True:
                    sent = stuck.send(bytes(1 << 20))
                    assert sent
            free.shutdown(socket.SHUT_WR)
            assert all_of(free) == b"hello bye"


def test_a_refusal_is_said_once_and_the_rest_goes_on(world: World) -> None:
    with echo() as port, forwarding(world, f"0:localhost:{port}", "0:example.org:80") as (process, (good, bad)):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", bad), timeout=120) as connection:
                assert all_of(connection) == b""
        with socket.create_connection(("127.0.0.1", good), timeout=120) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert all_of(connection) == b"hello bye"
        process.terminate()
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert said.count("permits no forward to example.org:80") == 1


def test_the_end_of_the_session_ends_the_command_with_the_reason(world: World) -> None:
    with echo() as port, forwarding(world, f"0:localhost:{port}") as (process, _):
        world.agent.command("revoke")
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait(60) == 4
    assert "the session ended" in said


CASES: list[tuple[Sequence[str], int, str]] = [
    (["8080"], 2, "LPORT:HOST:PORT"),
    (["0:host:99999"], 2, "not a forward"),
    (["{taken}:localhost:80"], 4, "cannot listen"),
    (["203.0.113.9:8080:localhost:80"], 4, "cannot listen"),
]


@pytest.mark.parametrize(("arguments", "status", "words"), CASES)
def test_what_cannot_be_is_said_before_anybody_is_asked(
    world: World, arguments: list[str], status: int, words: str
) -> None:
    before = len(world.agent.journal("session_requested"))
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = str(taken.getsockname()[1])
        said = world.console("forward", world.device, *(a.replace("{taken}", port) for a in arguments), status=status)
    assert words in said and "hint:" in said
    assert len(world.agent.journal("session_requested")) == before


def test_without_the_right_it_is_refused(world: World) -> None:
    world.technician("noforward", may="shell")
    other = world.login("noforward")
    said = other.console("forward", world.device, "0:localhost:80", status=3)
    assert "forward" in said
    wait_until(lambda: not world.agent.status()["sessions"], "no session is left")
