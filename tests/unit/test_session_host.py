"""Where sessions are not served yet, an offer is refused in words that help."""

from __future__ import annotations

import os
import sys

import pytest

from agent.platform import posix_process, this_host
from agent.session.host import Account, Launch
from agent.session.ipc import Terminal
from protocol.errors import Refused

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
