"""The section on who is logged in: for a technician to know whom a restart would disturb."""

from __future__ import annotations

from protocol.codec import Record
from protocol.sections.base import Instant, Section


class LoggedIn(Record, frozen=True, kw_only=True):
    """One login. name: of the account.  where: the terminal, display or seat.  remote: over the network; from where is
    not told.  graphical: with a desktop.  since_at: Unix seconds."""

    name: str
    where: str = ""
    remote: bool = False
    graphical: bool = False
    since_at: Instant | None = None


class Users(Section, frozen=True, kw_only=True):
    """users: by name, each login."""

    users: tuple[LoggedIn, ...] = ()
