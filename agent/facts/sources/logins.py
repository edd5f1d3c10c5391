"""Sources on who is logged in."""

from __future__ import annotations

import os
from pathlib import Path

from agent.facts.parsers.utmp import MAX_NAME_CHARS, MAX_USERS, parse_session, parse_utmp
from agent.facts.source import LINUX, Missing, Source, fit_text
from agent.facts.sources.files import read_bytes, read_text
from protocol.sections.users import LoggedIn

SESSIONS = Path("/run/systemd/sessions")
UTMP = (Path("/run/utmp"), Path("/var/run/utmp"))
MAX_SESSIONS = 256


def _linux() -> tuple[LoggedIn, ...]:
    """By logind where it runs: Debian 13 and others keep no utmp any more."""
    if SESSIONS.exists():
        return _by_logind()
    path = next((path for path in UTMP if path.exists()), None)
    if path is None:
        raise Missing("neither logind nor utmp says who is logged in")
    return parse_utmp(read_bytes(path))


def _by_logind() -> tuple[LoggedIn, ...]:
    names = [name for name in sorted(os.listdir(SESSIONS)) if not name.endswith(".ref")][:MAX_SESSIONS]
    found = []
    for name in names:
        try:
            session = parse_session(read_text(SESSIONS / name))
        except OSError:
            continue  # it ended meanwhile
        if session is not None:
            found.append(session)
    return tuple(found[:MAX_USERS])


def _elsewhere() -> tuple[LoggedIn, ...]:
    """Windows, macOS."""
    import psutil

    return tuple(
        LoggedIn(
            name=fit_text(user.name, MAX_NAME_CHARS),
            where=fit_text(user.terminal or "", MAX_NAME_CHARS),
            remote=bool(user.host) and user.host not in ("localhost", "127.0.0.1", "0.0.0.0"),  # noqa: S104  # no bind
            since_at=max(0, int(user.started)) or None,
        )
        for user in psutil.users()[:MAX_USERS]
    )


LOGINS = Source(name="logins", ask=_linux, platforms=LINUX)
LOGINS_ELSEWHERE = Source(name="logins", ask=_elsewhere, platforms=frozenset({"win32", "darwin"}))
