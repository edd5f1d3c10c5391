"""The section on what starts by itself when somebody logs in."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Section


class StartupProgram(Record, frozen=True, kw_only=True):
    """name: for people.  program: the file's name without folder and arguments, which may hold secrets.

    how: autostart (XDG), unit (systemd, of a user), run, run-once (Windows).  owner: the account that it starts for,
    "" for everybody.  enabled: whether it does start.
    """

    name: str
    program: str = ""
    how: str = ""
    owner: str = ""
    enabled: bool = True


class Startup(Section, frozen=True, kw_only=True):
    programs: tuple[StartupProgram, ...] = ()
