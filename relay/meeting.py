"""What a rendezvous keeps of a session, what it may come to, and what follows for others. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import msgspec

from protocol.ids import DeviceId, OrganisationId, SessionId
from protocol.leg import LegText, Waiting
from protocol.leg import Refused as LegRefused

NORMAL, RESTARTING, LOST, REFUSED, WITHDRAWN = 1000, 1012, 4001, 4003, 4004
"""Close codes of a leg: the other side closed it; the relay restarts, or the connection broke, and both may come again;
no session; ended from outside."""

Place = tuple[OrganisationId, SessionId]
"""A session's name here. Its id alone is none: the console chose it, and another organisation's may be the same."""

Side = Literal["console", "device"]
State = Literal["offered", "waiting", "accepted", "open", "refused", "ended"]

TRANSITIONS: dict[State, frozenset[State]] = {
    "offered": frozenset({"waiting", "accepted", "open", "refused", "ended"}),
    "waiting": frozenset({"accepted", "open", "refused", "ended"}),
    "accepted": frozenset({"open", "refused", "ended"}),
    "open": frozenset({"ended"}),
    "refused": frozenset(),
    "ended": frozenset(),
}
"""Which state may follow which. An event that would lead elsewhere is a message that crossed another: ignored."""


class Say(msgspec.Struct, frozen=True):
    leg: Hashable
    text: LegText


class HangUp(msgspec.Struct, frozen=True):
    """Close a leg. reason: for people, who see it as the close reason."""

    leg: Hashable
    code: int
    reason: str


class Splice(msgspec.Struct, frozen=True):
    """Say Spliced to both, and pass on what either sends."""

    console: Hashable
    device: Hashable


class CloseAtDevice(msgspec.Struct, frozen=True):
    """Tell the device over its link that nobody comes any more."""

    key: tuple[OrganisationId, DeviceId]
    session: SessionId
    reason: str


class Changed(msgspec.Struct, frozen=True):
    """A session's state changed; reason, message: why, once it is refused or ended."""

    place: Place
    state: State
    reason: str = ""
    message: str = ""


Effect = Say | HangUp | Splice | CloseAtDevice | Changed


class Meeting(msgspec.Struct):
    """One session here. tickets: SHA-256 of those not yet used.  claimed: sides whose ticket was used.

    again: the session stands already, and this is an attempt to join its legs anew.
    """

    session: SessionId
    key: tuple[OrganisationId, DeviceId]
    technician: str
    tickets: dict[Side, bytes]
    state: State
    deadline: float | None
    console_by: float | None
    legs: dict[Side, Hashable] = {}
    claimed: set[Side] = set()
    again: bool = False
    waiting: Waiting | None = None
    refusal: LegRefused | None = None
    reason: str = ""
    message: str = ""

    @property
    def place(self) -> Place:
        return self.key[0], self.session

    @property
    def is_over(self) -> bool:
        return self.state in ("refused", "ended")
