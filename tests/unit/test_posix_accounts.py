"""Who is logged in at the device, from logind's and utmp's files, and which account a principal means."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from agent.platform import posix_accounts
from protocol.errors import Refused

ME = pwd.getpwuid(os.geteuid()).pw_name


def session(folder: Path, name: str, **fields: str) -> None:
    lines = {"UID": "1000", "USER": "ana", "STATE": "active", "CLASS": "user", "SEAT": "seat0", "REMOTE": "0", **fields}
    (folder / name).write_text("# made by systemd\n" + "".join(f"{k}={v}\n" for k, v in lines.items()))


@pytest.fixture
def logind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(posix_accounts, "LOGIND_SESSIONS", tmp_path)
    return tmp_path


def test_whoever_is_in_the_foreground_at_the_seat_is_present(logind: Path) -> None:
    session(logind, "1", USER="ana")
    session(logind, "2", USER="ben", STATE="online")
    session(logind, "3", USER="gdm", CLASS="greeter")
    session(logind, "4", USER="eve", SEAT="", REMOTE="1")
    session(logind, "5", USER="old", STATE="closing")
    (logind / "6.ref").write_text("x")
    assert posix_accounts.present_users() == ("ana",)


def test_who_left_the_seat_to_a_greeter_is_still_logged_in(logind: Path) -> None:
    session(logind, "1", USER="ben", STATE="online")
    session(logind, "2", USER="gdm", CLASS="greeter")
    assert posix_accounts.present_users() == ("ben",)


def test_files_that_are_no_sessions_are_nobody(logind: Path) -> None:
    (logind / "1").write_bytes(b"\xff\xfe\x00=\n\n=\nUSER")
    (logind / "2").mkdir()
    session(logind, "3", USER="")
    assert posix_accounts.present_users() == ()


def utmp(kind: int, user: bytes, host: bytes = b"") -> bytes:
    record = bytearray(posix_accounts.UTMP_RECORD)
    record[:2] = kind.to_bytes(2, "little")
    record[44 : 44 + len(user)] = user
    record[76 : 76 + len(host)] = host
    return bytes(record)


def test_without_logind_utmp_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix_accounts, "LOGIND_SESSIONS", tmp_path / "absent")
    file = tmp_path / "utmp"
    monkeypatch.setattr(posix_accounts, "UTMP", file)
    assert posix_accounts.present_users() == ()
    records = [
        utmp(7, b"daemon", b"203.0.113.9"),
        utmp(8, b"bin"),
        utmp(7, b"no-such-account"),
        utmp(7, ME.encode(), b":0"),
    ]
    file.write_bytes(b"".join(records) + b"cut")
    assert posix_accounts.present_users() == (ME,)


def code_of(principal: str) -> str:
    with pytest.raises(Refused) as caught:
        posix_accounts.resolve(principal)
    return caught.value.reason


def test_admin_is_root_or_the_agent_itself() -> None:
    account = posix_accounts.resolve("admin")
    assert account.uid == os.geteuid()
    assert account.gid in account.groups


@pytest.mark.parametrize("name", ["no-such-account", "", "ro\0ot", "\udcff", "root/../x", "\x1b[2J"])
def test_an_account_that_is_none_is_refused(name: str) -> None:
    assert code_of(name) == "no_such_account"


def test_user_is_the_one_person_at_the_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posix_accounts, "present_users", lambda: ())
    assert code_of("user") == "user_not_logged_in"
    monkeypatch.setattr(posix_accounts, "present_users", lambda: ("ana", "ben"))
    assert code_of("user") == "user_not_logged_in"
    monkeypatch.setattr(posix_accounts, "present_users", lambda: (ME,))
    assert posix_accounts.resolve("user").name == ME


def test_an_agent_that_is_not_root_is_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert code_of("root") == "not_root"


def test_root_may_not_become_an_account_without_a_shell() -> None:
    nologin = next((e.pw_name for e in pwd.getpwall() if e.pw_shell.endswith(("/nologin", "/false"))), None)
    if nologin is None or os.geteuid() != 0:
        pytest.skip("needs root and an account without a shell")
    assert code_of(nologin) == "no_login_shell"
