"""Accounts of a POSIX system: which one a principal means, whether it may log in, and what it is to begin with.

Like sshd with keys, a locked password is no obstacle (root is locked on every Ubuntu): an account is closed to us by
an expiry date in the past (`usermod -e`) or by a shell that is none. Being root, we could be anybody; without root,
only ourselves, and everything else is refused rather than quietly replaced.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from agent.session.host import Account
from protocol.errors import Refused
from protocol.system_clock import SystemClock
from protocol.text import escape

DAY_S = 86_400

NO_SHELLS = frozenset({"nologin", "false", "true", "sync", "halt", "shutdown"})
"""Names of programs that stand in for a shell where there is to be none (Debian's and Red Hat's passwd files)."""

DEFAULT_SHELL = "/bin/sh"
"""What an empty field means (passwd(5))."""

UTMP = Path("/run/utmp")
UTMP_RECORD = 384
"""struct utmp of glibc on 64-bit Linux, as on 32-bit: type i16 at 0, line 32 at 8, user 32 at 44, host 256 at 76."""

UTMP_USER_PROCESS = 7
MAX_UTMP_BYTES = 1024 * 1024
LOGIND_SESSIONS = Path("/run/systemd/sessions")
MAX_LOGIND_SESSIONS = 256
MAX_SHADOW_BYTES = 4 * 1024 * 1024


def resolve(principal: str) -> Account:
    """The account that a certificate's principal means here and now. See Host.account."""
    own = os.geteuid()
    if principal == "admin":
        name = pwd.getpwuid(own).pw_name if own else _root_name()
    elif principal == "user":
        name = _seat_user()
    else:
        name = principal
    account = _account(name)
    if own and account.uid != own:
        raise Refused(
            f"the agent is not root, so it cannot be {escape(account.name)!r}",
            code="not_root",
            hint=f"It can be {pwd.getpwuid(own).pw_name!r}, which `admin` means as well.",
        )
    _check_open(account)
    return account


def _root_name() -> str:
    return pwd.getpwuid(0).pw_name


def _account(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError, UnicodeError):
        raise Refused(f"there is no account {escape(name, limit=64)!r} on the device", code="no_such_account") from None
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid) if os.geteuid() == 0 else os.getgroups()
    return Account(
        name=entry.pw_name,
        uid=entry.pw_uid,
        gid=entry.pw_gid,
        groups=tuple(sorted({entry.pw_gid, *groups})),
        home=entry.pw_dir or "/",
        shell=entry.pw_shell or DEFAULT_SHELL,
    )


def _check_open(account: Account) -> None:
    shell = Path(account.shell)
    if shell.name in NO_SHELLS or not (shell.is_file() and os.access(shell, os.X_OK)):
        raise Refused(
            f"the account {account.name} has no login shell ({escape(account.shell, limit=80)})",
            code="no_login_shell",
            hint="Ask for another account; `admin` is root.",
        )
    # Root is never closed by a date: it is how a device with a wrong clock is repaired.
    expired_on = _expiry_day(account.name) if account.uid and os.geteuid() == 0 else None
    if expired_on is not None and SystemClock().now() >= expired_on * DAY_S:
        raise Refused(f"the account {account.name} has expired", code="account_expired")


def _expiry_day(name: str) -> int | None:
    """Field 8 of shadow(5), in days since 1970; None where there is none. Python's spwd is gone since 3.13."""
    try:
        with Path("/etc/shadow").open("rb") as file:
            lines = file.read(MAX_SHADOW_BYTES).splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split(b":")
        if len(fields) >= 8 and fields[0] == os.fsencode(name):
            return int(fields[7]) if fields[7].isdigit() else None
    return None


def _seat_user() -> str:
    users = present_users()
    if not users:
        raise Refused(
            "nobody is logged in at the device",
            code="user_not_logged_in",
            hint="Ask the customer to log in, or ask for `admin` or an account by name.",
        )
    if len(users) > 1:
        raise Refused(
            f"{len(users)} people are logged in at the device",
            code="user_not_logged_in",
            hint=f"Ask for one by name: {', '.join(escape(u, limit=32) for u in users[:8])}.",
        )
    return users[0]


def present_users() -> tuple[str, ...]:
    """Who is logged in at the device itself, not over the network: by logind where it runs, else by utmp."""
    users = _logind_users()
    return tuple(sorted(_utmp_users() if users is None else users))


def _logind_users() -> set[str] | None:
    """The users of logind's sessions on a seat; None where there is no logind. Source: sd-login(3), /run/systemd."""
    try:
        files = sorted(LOGIND_SESSIONS.iterdir())[:MAX_LOGIND_SESSIONS]
    except OSError:
        return None
    users: dict[str, set[str]] = {"active": set(), "online": set()}
    for file in files:
        if file.name.endswith(".ref"):
            continue
        try:
            text = file.read_text(errors="replace")[:4096]
        except OSError:
            continue
        fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        local = fields.get("SEAT") and fields.get("REMOTE", "0") == "0"
        # A greeter is nobody's session, and one that is closing has nobody before it.
        if local and fields.get("CLASS") == "user" and fields.get("USER"):
            users.get(fields.get("STATE", ""), set()).add(fields["USER"])
    # Where people switch between accounts, the one in the foreground is who sits there.
    return users["active"] or users["online"]


def _utmp_users() -> set[str]:
    """Users of terminals that came from no other host. Source: utmp(5)."""
    try:
        with UTMP.open("rb") as file:
            data = file.read(MAX_UTMP_BYTES)
    except OSError:
        return set()
    users = set()
    for start in range(0, len(data) - UTMP_RECORD + 1, UTMP_RECORD):
        record = data[start : start + UTMP_RECORD]
        if int.from_bytes(record[:2], "little") != UTMP_USER_PROCESS:
            continue
        user, host = (record[a:b].split(b"\0", 1)[0] for a, b in ((44, 76), (76, 332)))
        if user and (not host or host.startswith(b":")):  # ":0" is a display of this machine
            users.add(os.fsdecode(user))
    return {u for u in users if _exists(u)}


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def tty_group() -> int | None:
    """The group of terminals, so that `write` and `wall` work as on any other login (tty(4))."""
    try:
        return grp.getgrnam("tty").gr_gid
    except KeyError:
        return None
