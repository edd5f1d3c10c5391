"""The tools that technicians have already, through a real relay, by the include of `auxilio ssh-config`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.support.effort import LONG
from tests.support.session_world import free_port
from tests.support.world import World

BULK_BYTES = (512 if LONG else 32) * 1024 * 1024


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World.begin()
    yield world
    world.end()


@pytest.fixture
def bulk(tmp_path: Path) -> Path:
    path = tmp_path / "bulk"
    path.write_bytes(os.urandom(1024 * 1024) * (BULK_BYTES // 1024 // 1024))
    return path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def do(world: World, *command: str, stdin: bytes | None = None) -> str:
    done = world.run(command, stdin=stdin)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return done.stdout.decode()


def options(world: World) -> tuple[str, ...]:
    return ("-F", str(world.ssh_config()), "-o", "BatchMode=yes")


def test_scp_there_and_back(world: World, bulk: Path, tmp_path: Path) -> None:
    do(world, "scp", "-q", *options(world), str(bulk), f"{world.host}:{tmp_path}/there")
    do(world, "scp", "-q", *options(world), f"{world.host}:{tmp_path}/there", f"{tmp_path}/back")
    assert digest(tmp_path / "there") == digest(bulk) == digest(tmp_path / "back")


def test_sftp(world: World, bulk: Path, tmp_path: Path) -> None:
    batch = f"put {bulk} {tmp_path}/there\nls -l {tmp_path}\nget {tmp_path}/there {tmp_path}/back\n".encode()
    out = do(world, "sftp", "-q", *options(world), "-b", "-", world.host, stdin=batch)
    assert str(BULK_BYTES) in out
    assert digest(tmp_path / "back") == digest(bulk)


def test_rsync_sends_only_what_changed(world: World, bulk: Path, tmp_path: Path) -> None:
    ssh = " ".join(("ssh", *options(world)))
    command = ("rsync", "-a", "--stats", "-e", ssh, str(bulk), f"{world.host}:{tmp_path}/there")
    do(world, *command)
    with bulk.open("r+b") as file:
        file.seek(BULK_BYTES // 2)
        file.write(b"changed")
    # Its quick check is by size and the second of the last change, and all of this may take no longer.
    stats = do(world, *command, "--no-whole-file", "--ignore-times")
    assert digest(tmp_path / "there") == digest(bulk)
    sent = next(line for line in stats.splitlines() if line.startswith("Literal data"))
    assert int(sent.split()[2].replace(",", "")) < BULK_BYTES // 4


PLAYBOOK = """
- hosts: all
  gather_facts: true
  tasks:
    - copy: {content: "hola\\n", dest: "{{ folder }}/greeting", mode: "0640"}
    - command: "cat {{ folder }}/greeting"
      register: read
    - assert: {that: ["read.stdout == 'hola'", "ansible_system == 'Linux'"]}
    - fetch: {src: "{{ folder }}/greeting", dest: "{{ folder }}/fetched", flat: true}
"""


@pytest.mark.parametrize("pipelining", ["False", "True"])
def test_ansible_pings_and_runs_a_playbook(world: World, tmp_path: Path, pipelining: str) -> None:
    ansible = shutil.which("ansible-playbook")
    assert ansible, "apt install ansible-core"
    (tmp_path / "book.yml").write_text(PLAYBOOK)
    config = (
        f"[defaults]\nhost_key_checking = True\nlocal_tmp = {tmp_path}/local\nremote_tmp = {tmp_path}/remote\n"
        f"interpreter_python = /usr/bin/python3\n[ssh_connection]\npipelining = {pipelining}\n"
        f"ssh_args = {' '.join(options(world))} -o ControlMaster=auto -o ControlPersist=5\n"
        f"control_path_dir = {tmp_path}/cp\n"
    )
    (tmp_path / "ansible.cfg").write_text(config)
    environment = {**world.environment, "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "HOME": str(tmp_path)}
    environment.pop("PYTHONPATH")
    inventory = ("-i", f"{world.host},", "-e", f"folder={tmp_path}")
    for command in (("ansible", "all", *inventory, "-m", "ping"), (ansible, *inventory, str(tmp_path / "book.yml"))):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "fetched").read_text() == "hola\n"


@contextmanager
def page(text: bytes) -> Iterator[int]:
    """A web page on the device."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Page)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_what_an_editor_s_remote_mode_needs_over_one_connection(world: World, tmp_path: Path) -> None:
    """A server is put there by SFTP and started, and its loopback port is reached: VS Code's and JetBrains' way."""
    master = ("-o", "ControlMaster=auto", "-o", f"ControlPath={world.folder}/cm", "-o", "ControlPersist=60")
    ours, socks = free_port(), free_port()
    opener = world.stock_ssh(*master, "-T", "-D", f"127.0.0.1:{socks}", world.host, "bash")
    (tmp_path / "server.sh").write_text("#!/bin/sh\necho started as $(id -un)\n")
    try:
        assert do(world, *opener, stdin=b"echo ready; uname -s\n") == "ready\nLinux\n"
        do(world, "scp", "-q", *options(world), *master, str(tmp_path / "server.sh"), f"{world.host}:{tmp_path}/run.sh")
        assert do(world, *world.stock_ssh(*master, world.host, f"sh {tmp_path}/run.sh")) == "started as root\n"
        with page(b"the editor's server") as port:
            do(world, *world.stock_ssh(*master, "-O", "forward", "-L", f"{ours}:127.0.0.1:{port}", world.host))
            with urllib.request.urlopen(f"http://127.0.0.1:{ours}/", timeout=60) as answer:
                assert answer.read() == b"the editor's server"
            through = (
                "curl",
                "-sS",
                "--max-time",
                "60",
                "--socks5-hostname",
                f"127.0.0.1:{socks}",
                f"localhost:{port}/",
            )
            assert do(world, *through) == "the editor's server"
        # One connection is one session, for all of it.
        world.agent.wait_status(lambda s: len(s["sessions"]) == 1, "there is one session")
    finally:
        world.run(world.stock_ssh(*master, "-O", "exit", world.host))
    world.agent.wait_status(lambda s: not s["sessions"], "the session ends with the connection")
