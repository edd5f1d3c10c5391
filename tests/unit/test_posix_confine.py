"""What a process cannot do any more once it is confined, tried out in a real one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from agent.platform.posix_confine import FIRST_UID, NOBODY, SLOTS, unallocated_uid
from agent.platform.posix_seccomp import ARCHITECTURES, DENIED

ROOT = Path(__file__).resolve().parents[2]

TRY = """
import ctypes, os, socket, sys, threading
sys.path.insert(0, sys.argv[1])
from agent.platform.posix_confine import confine, forbid_processes
libc = ctypes.CDLL(None, use_errno=True)
confine(int(sys.argv[2]) if sys.argv[2] != "-" else None)
forbid_processes()

def attempt(name, act):
    try:
        act()
    except BaseException as exc:
        print(name, type(exc).__name__)
    else:
        print(name, "WORKED")

def write(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")

def thread():
    threading.Thread(target=print).start()

def traced():
    if libc.ptrace(0, 0, 0, 0) != 0:
        raise OSError("ptrace")

def x32():
    if libc.syscall(0x40000000 + 520, 0, 0, 0) != 0:
        raise OSError("x32 execve")

attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("fork", os.fork)
attempt("thread", thread)
attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("root", lambda: os.setuid(0))
attempt("groups", lambda: os.setgroups([0]))
attempt("file", lambda: write("/tmp/auxilio-confined-%d" % os.getpid()))
attempt("state", lambda: os.listdir(sys.argv[3]))
attempt("memory", lambda: bytearray(600 << 20))
attempt("trace", traced)
attempt("x32", x32)
attempt("kill", lambda: os.kill(os.getppid(), 0))
attempt("port", lambda: socket.create_server(("127.0.0.1", 80)))
attempt("socket", lambda: socket.socket())
"""


def test_a_confined_process_executes_nothing_makes_nothing_and_reaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    tmp_path.chmod(0o700)
    as_root = os.geteuid() == 0
    uid = str(unallocated_uid(200)) if as_root else "-"
    done = subprocess.run(
        [sys.executable, "-I", "-c", TRY, str(ROOT), uid, str(tmp_path)], capture_output=True, text=True, check=False
    )
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found.pop("socket") == "WORKED", done.stderr  # it is there to talk to the relay
    if not as_root:
        for name in ("state", "kill"):  # it is the agent's own account there
            found.pop(name)
    if platform.machine() not in ARCHITECTURES:
        found.pop("exec")
        found.pop("trace")
    assert "exec" in found or platform.machine() not in ARCHITECTURES
    assert not [name for name, what in found.items() if what == "WORKED"], found
    assert len(found) >= 10 - (0 if as_root else 2)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_every_denied_call_has_a_number_of_its_own(machine: str) -> None:
    numbers = ARCHITECTURES[machine].denied
    assert len(numbers) == len(set(numbers)) == len(DENIED)


def test_no_account_has_the_uid_of_a_child() -> None:
    uids = {unallocated_uid(slot) for slot in range(SLOTS)}
    assert uids <= {*range(FIRST_UID, FIRST_UID + SLOTS), NOBODY}
    assert len(uids) == SLOTS
