"""Who is logged in, and which starts no shutdown preceded: utmp(5) of 64-bit Linux, and logind's session files."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from protocol.sections.users import LoggedIn

RECORD_BYTES = 384
RUN_LEVEL, BOOT, USER = 1, 2, 7
_RECORD = struct.Struct("<hxxi32s4s32s256shhii i")  # type, pid, line, id, user, host, exit (2), session, sec, usec
MAX_USERS = 64
MAX_NAME_CHARS = 64
MAX_AT = 2**32


class _Entry(msgspec.Struct, frozen=True):
    type: int
    line: str
    user: str
    host: str
    at: int


class Starts(msgspec.Struct, frozen=True):
    """unclean: how many, since `since`.  last_at: the last of them, Unix seconds."""

    unclean: int = 0
    last_at: int | None = None


def _entries(data: bytes) -> Iterator[_Entry]:
    for start in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        type_, _, line, _, user, host, _, _, _, seconds, _ = _RECORD.unpack_from(data, start)
        yield _Entry(type_, _text(line), _text(user), _text(host), seconds & 0xFFFFFFFF)


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")[:MAX_NAME_CHARS]


def parse_utmp(data: bytes) -> tuple[LoggedIn, ...]:
    """Those who are logged in. A host that begins with ":" is a display of this machine."""
    found = []
    for entry in _entries(data):
        if entry.type != USER or not entry.user:
            continue
        local_display = entry.host.startswith(":") or entry.line.startswith(":")
        found.append(
            LoggedIn(
                name=entry.user,
                where=entry.line,
                remote=bool(entry.host) and not local_display,
                graphical=local_display,
                since_at=entry.at or None,
            )
        )
        if len(found) == MAX_USERS:
            break
    return tuple(found)


def parse_starts(data: bytes, since: float) -> Starts:
    """wtmp: starts whose last record before is no shutdown. The first in the file may follow one that was rotated
    away, and tells nothing. since: Unix seconds."""
    unclean, last_at = 0, None
    shut_down = True
    for entry in _entries(data):
        if entry.type == RUN_LEVEL and entry.user == "shutdown":
            shut_down = True
        elif entry.type == BOOT:
            if not shut_down and entry.at >= since:
                unclean, last_at = unclean + 1, entry.at
            shut_down = False
    return Starts(unclean, last_at)


def parse_session(text: str) -> LoggedIn | None:
    """One file of /run/systemd/sessions; None for a greeter, a service's session, and one that is closing.

    Source: systemd, src/login/logind-session.c, session_save.
    """
    values: dict[str, str] = {}
    for line in text.splitlines()[:200]:
        key, equals, value = line.partition("=")
        if equals:
            values.setdefault(key, value[:MAX_NAME_CHARS])
    if not values.get("CLASS", "").startswith("user") or values.get("STATE") == "closing" or not values.get("USER"):
        return None
    if values["CLASS"].startswith("user-") or values.get("TYPE") == "unspecified":
        return None  # of a background job
    began = values.get("REALTIME", "")
    seconds = int(began) // 1_000_000 if began.isascii() and began.isdigit() else 0
    return LoggedIn(
        name=values["USER"],
        where=values.get("TTY") or values.get("DISPLAY") or values.get("SEAT") or "",
        remote=values.get("REMOTE") == "1",
        graphical=values.get("TYPE") in ("x11", "wayland", "mir"),
        since_at=seconds if 0 < seconds < MAX_AT else None,
    )
