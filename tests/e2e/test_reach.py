"""A technician's shell and commands on a real device through a real relay: by `auxilio ssh` and by stock ssh."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.agent_process import WITHIN_S, wait_until
from tests.support.world import World

MIB = 1024 * 1024
BULK_MIB = 100


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin("lab")
    yield world
    world.end()


CLIENTS = ["auxilio", "stock"]


def client(world: World, name: str, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    if name == "auxilio":
        return world.auxilio("ssh", *options, world.device, *(("--", *command) if command else ()))
    return world.stock_ssh(*options, world.host, *command)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_commands_output_errors_and_exit_status_arrive(world: World, name: str) -> None:
    done = world.run(client(world, name, "echo out; echo err >&2; exit 7"))
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_signal_that_ended_the_command_is_told(world: World, name: str) -> None:
    done = world.run(client(world, name, "kill -TERM $$"))
    # OpenSSH's client says 255 for a command that a signal ended; ours says 128 + the signal, as shells do.
    assert done.returncode == (255 if name == "stock" else 128 + signal.SIGTERM)


@pytest.mark.parametrize("name", CLIENTS)
def test_100_mib_pass_through_stdin_and_stdout_unchanged(world: World, name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    block = os.urandom(MIB)
    with open(source, "wb") as file:
        for number in range(BULK_MIB):
            file.write(number.to_bytes(4, "big") + block[4:])
    with open(source, "rb") as given, open(target, "wb") as taken:
        done = subprocess.run(
            client(world, name, "tee /dev/stderr 2>/dev/null"),
            stdin=given,
            stdout=taken,
            stderr=subprocess.PIPE,
            env=world.environment,
            timeout=5 * WITHIN_S,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    with open(source, "rb") as left, open(target, "rb") as right:
        assert hashlib.file_digest(left, "sha256").digest() == hashlib.file_digest(right, "sha256").digest()


@pytest.mark.parametrize("name", CLIENTS)
def test_the_end_of_input_reaches_the_command_and_its_output_still_arrives(world: World, name: str) -> None:
    done = world.run(client(world, name, "cat; echo done"), stdin=b"given\n")
    assert (done.returncode, done.stdout) == (0, b"given\ndone\n")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_session_that_the_technician_ended_counts_as_closed(world: World, name: str) -> None:
    before = len(world.agent.journal("session_ended"))
    assert world.run(client(world, name, "true")).returncode == 0
    assert world.wait_journal("session_ended", before + 1)[-1]["reason"] == "closed"


def test_the_shell_is_the_accounts_own_login_shell(world: World) -> None:
    done = world.run(client(world, "stock"), stdin=b"echo $0 $HOME $LOGNAME; pwd; exit 3\n")
    assert done.returncode == 3
    assert done.stdout.decode().split() == ["-bash", "/root", "root", "/root"] or os.geteuid() != 0


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, world: World, command: list[str], columns: int = 80, rows: int = 24) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        environment = {**world.environment, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.seen = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str) -> re.Match[bytes]:
        """Wait for output that matches, and forget what came before its end."""
        deadline = time.monotonic() + WITHIN_S
        while not (found := re.search(pattern.encode(), self.seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], min(left, 1.0))[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:  # the other end of the terminal is closed
                    assert re.search(pattern.encode(), self.seen), self.seen[-2000:]
        self.seen = self.seen[found.end() :]
        return found

    def end(self) -> int:
        return self.process.wait(WITHIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.master)
        self.process.kill()
        self.process.wait(WITHIN_S)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_terminal_is_one_resizes_and_hears_ctrl_c(world: World, name: str) -> None:
    with Terminal(world, client(world, name), columns=91, rows=31) as terminal:
        _use(terminal)


def _use(terminal: Terminal) -> None:
    terminal.type("PS1=; echo \"<$TERM> $(stty size)\"; echo rea''dy\n")
    terminal.expect(r"<xterm-256color> 31 91\r\n")
    terminal.expect(r"ready\r\n")
    terminal.type("until test \"$(stty size)\" = '45 123'; do sleep 0.1; done; echo resi''zed\n")
    terminal.resize(123, 45)
    os.killpg(terminal.process.pid, signal.SIGWINCH)
    terminal.expect(r"resized\r\n")
    terminal.type("sleep 1000\n")
    wait_until(lambda: _running("sleep 1000"), "the sleep is running on the device")
    terminal.type("\x03")
    terminal.expect(r"\^C")
    terminal.type("echo int''errupted $?\n")
    terminal.expect(r"interrupted 130\r\n")
    terminal.type("exit 5\n")
    assert terminal.end() == 5


def _running(command: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().replace(b"\0", b" ").strip() == command.encode():
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_that_hangs_up_ends_what_it_started(world: World, name: str) -> None:
    """Killed outright it says nothing, and the device waits for it: tests/e2e/test_survival.py."""
    mark = f"sleep 98765{CLIENTS.index(name)}"
    process = subprocess.Popen(
        client(world, name, mark),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=world.environment,
    )
    wait_until(lambda: _running(mark), "the command runs")
    process.send_signal(signal.SIGTERM)
    process.wait(WITHIN_S)
    wait_until(lambda: not _running(mark), "the command is gone")
    wait_until(lambda: not world.session_children(), "no child of the agent is left")


def test_the_host_key_is_verified_by_the_id_and_another_is_a_hard_failure(world: World) -> None:
    config = world.ssh_config()
    known = world.run(["ssh", "-G", "-F", str(config), world.host]).stdout.decode()
    for line in ("stricthostkeychecking true", "forwardagent no", "userknownhostsfile none"):
        assert line in known.lower()
    other = "aaaaa-bbbbb-ccccc-ddddd.auxilio"
    # The same device reached under another id: its key does not hash to the name that the technician typed.
    proxy = f"{' '.join(world.auxilio('proxy', world.device, '--account', 'admin'))}"
    done = world.run(
        ["ssh", "-F", str(config), "-o", "BatchMode=yes", "-o", f"ProxyCommand={proxy}", f"admin@{other}", "true"]
    )
    assert done.returncode == 255 and b"Host key verification failed" in done.stderr


@pytest.mark.parametrize("name", CLIENTS)
def test_many_sessions_live_side_by_side(world: World, name: str) -> None:
    running: list[Any] = [
        subprocess.Popen(
            client(world, name, f"echo {number}; cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=world.environment,
        )
        for number in range(4)
    ]
    for number, process in enumerate(running):
        assert process.stdout.readline() == f"{number}\n".encode(), process.stderr.read()
    for process in running:
        out, _ = process.communicate(b"bye\n", timeout=WITHIN_S)
        assert (process.returncode, out) == (0, b"bye\n")


def test_show_and_devices_tell_what_the_device_signed(world: World) -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        total = int(next(line.split()[1] for line in file if line.startswith("MemTotal:"))) * 1024
    shown = world.console_json("show", world.device, "memory", "--json")
    assert shown["sections"]["memory"]["total"] == total and shown["report_fault"] is None
    text = world.console("show", world.device)
    for word in ("memory", "GiB", "network", "storage"):
        assert word in text
    listed = world.console_json("devices", "tag:lab online os:linux", "--json")
    assert [device["id"] for device in listed] == [world.device]
    assert world.console_json("devices", "tag:clinic", "--json") == []
