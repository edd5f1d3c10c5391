"""Where sessions are not served yet, an offer is refused in words that help."""

from __future__ import annotations

import os
import sys

import pytest

from agent.platform import posix_process, this_host
from agent.session.host import Account, Launch
from agent.session.ipc import Terminal
from protocol.errors import Refused, Unavailable

ACCOUNT = Account(name="ana", uid=1000, gid=1000, groups=(1000, 27), home="/home/ana", shell="/bin/bash")


def test_windows_says_that_it_serves_no_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(Refused) as caught:
        this_host()
    assert caught.value.reason == "unsupported_platform"
    assert caught.value.hint


def launch(**changes: object) -> Launch:
    fields: dict[str, object] = {
        "account": ACCOUNT,
        "command": None,
        "terminal": None,
        "environment": {},
        "session": "s",
        **changes,
    }
    return Launch(**fields)  # type: ignore[arg-type]  # names of fields


def test_the_environment_is_a_login_s_and_the_session_cannot_be_forged() -> None:
    terminal = Terminal(name="xterm", columns=80, rows=24, width=0, height=0)
    found = posix_process.environment_of(
        launch(terminal=terminal, environment={"LANG": "es_ES.UTF-8", "AUXILIO_SESSION": "forged"})
    )
    assert found["AUXILIO_SESSION"] == "s"
    assert (found["HOME"], found["USER"], found["LOGNAME"], found["SHELL"]) == ("/home/ana", "ana", "ana", "/bin/bash")
    assert (found["LANG"], found["TERM"], found["PATH"]) == ("es_ES.UTF-8", "xterm", posix_process.USER_PATH)
    assert not found.keys() & os.environ.keys() - {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "MAIL", "LANG", "TERM"}


def test_root_has_the_administrator_s_path() -> None:
    root = Account(name="root", uid=0, gid=0, groups=(0,), home="/root", shell="/bin/sh")
    found = posix_process.environment_of(launch(account=root))
    assert found["PATH"] == posix_process.ADMIN_PATH
    assert "TERM" not in found


@pytest.mark.skipif(sys.platform != "linux", reason="needs ld.so's way of saying what it does")
async def test_what_a_client_sets_reaches_its_own_program_and_not_the_launcher_which_may_be_root() -> None:
    """ld.so complains of a library that is not there, once for each program that it loads."""
    own = Account(name="me", uid=os.getuid(), gid=os.getgid(), groups=(os.getgid(),), home="/", shell="/bin/sh")
    preload = {"LD_PRELOAD": "/no/such/library.so", "PYTHONPATH": "/no/such"}
    process = posix_process.start(launch(account=own, command="exec true", environment=preload))
    theirs_in, out, errors = process.take_descriptors()
    os.close(theirs_in)
    await process.wait()
    said = os.read(errors, 65536).decode()
    os.close(out)
    os.close(errors)
    await process.end(everything=True)
    # The account's shell, and the program that it executes; a third one would be the launcher.
    assert said.count("library.so") == 2, said


async def test_a_text_that_the_system_cannot_pass_on_starts_nothing_and_leaks_nothing() -> None:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for changes in ({"command": "x\0y"}, {"environment": {"A\0": "b"}}):
        with pytest.raises(Unavailable):
            posix_process.start(launch(**changes))
    assert not before or len(os.listdir("/proc/self/fd")) == before
