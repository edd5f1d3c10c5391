"""How the two legs of a session find each other. Pure: events with `now` in, effects out; sessions.py does them.

    offered --waiting--> waiting --accepted--> accepted --both legs--> open --a leg leaves--> ended
       |                    |                     |
       +------refused-------+---------------------+--> refused          withdrawn, late, device gone --> ended

A session is offered to the device over its link; each side gets a single-use ticket and opens a leg with it. The
console's may come first and wait: it hears that the customer is asked, or why there will be no session. A leg whose
other side does not come is hung up. A session whose legs were lost may be offered again, and then begins anew here. The
relay decides nothing else here: whoever holds a ticket is joined, and what
they say to each other is theirs to verify.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Hashable
from typing import Literal

from protocol.errors import Refused
from protocol.ids import DeviceId, OrganisationId, SessionId
from protocol.leg import Refused as LegRefused
from protocol.leg import Waiting
from protocol.policy import MAX_CONSENT_WAIT_S
from relay.meeting import (
    LOST,
    NORMAL,
    REFUSED,
    RESTARTING,
    TRANSITIONS,
    WITHDRAWN,
    Changed,
    CloseAtDevice,
    Effect,
    HangUp,
    Meeting,
    Place,
    Say,
    Side,
    Splice,
    State,
)

ANSWER_WITHIN_S = 60.0
"""From the offer to the device's first word: it may have to fetch a newer policy over a bad line first."""

WAIT_GRACE_S = 15.0
"""On top of the time that the device gives its customer, which its own clock measures."""

SPLICE_WITHIN_S = 60.0
"""From the device's yes to its leg: its session process has to start and dial."""

LONE_S = 30.0
"""A leg waits for the other, once both have a reason to be here, and a console for its first leg."""

TELL_WITHIN_S = 60.0
"""An outcome is kept for a console whose leg is still being dialled."""

END_WITHIN_S = 10.0
"""After a leg left, for the device to say over its link how the session ended."""

MAX_SESSIONS = 5_000
"""Those that are over and still told of included. Of which one organisation may have half."""

MAX_PER_DEVICE = 72
"""A device takes 64, and some are always on their way."""

MAX_PER_TECHNICIAN = 64


class Rendezvous:
    def __init__(self, *, limit: int = MAX_SESSIONS) -> None:
        self._limit = limit
        self._meetings: dict[Place, Meeting] = {}
        self._same_id: dict[SessionId, list[Meeting]] = {}

    def __len__(self) -> int:
        return len(self._meetings)

    def get(self, place: Place) -> Meeting | None:
        return self._meetings.get(place)

    def next_deadline(self) -> float | None:
        times = [t for m in self._meetings.values() for t in (m.deadline, m.console_by) if t is not None]
        return min(times, default=None)

    # -- a session begins -----------------------------------------------------------------------------------------

    def open(
        self,
        session: SessionId,
        key: tuple[OrganisationId, DeviceId],
        technician: str,
        *,
        console_ticket: str,
        device_ticket: str,
        now: float,
        again: bool = False,
    ) -> None:
        """again: see Meeting. Raises Refused (too_many_sessions, session_known)."""
        if (key[0], session) in self._meetings:
            raise Refused("there is a session of this id already", code="session_known")
        theirs = [m for m in self._meetings.values() if m.key[0] == key[0]]
        same_device = sum(m.key == key and not m.is_over for m in theirs)
        same_technician = sum(m.technician == technician and not m.is_over for m in theirs)
        if (
            len(self._meetings) >= self._limit
            or len(theirs) >= self._limit // 2
            or same_device >= MAX_PER_DEVICE
            or same_technician >= MAX_PER_TECHNICIAN
        ):
            raise Refused("there are too many sessions at once", code="too_many_sessions", hint="End some of them.")
        meeting = Meeting(
            session=session,
            key=key,
            technician=technician,
            tickets={"console": _digest(console_ticket), "device": _digest(device_ticket)},
            state="offered",
            deadline=now + ANSWER_WITHIN_S,
            console_by=now + LONE_S,
            again=again,
        )
        self._meetings[meeting.place] = meeting
        self._same_id.setdefault(session, []).append(meeting)

    def close_lost(self, place: Place, key: tuple[OrganisationId, DeviceId], technician: str) -> list[Effect]:
        """Its technician asks for the session again: what there still is of its old legs goes.

        Raises Refused (session_known) where the session is another's, or is still being asked for; or in the words of
        the device, where it refused an attempt before this one.
        """
        meeting = self._meetings.get(place)
        if meeting is None:
            return []
        if meeting.again and meeting.state == "refused" and meeting.refusal is not None:
            raise Refused(meeting.refusal.message, hint=meeting.refusal.hint, code=meeting.refusal.code)
        if meeting.key != key or meeting.technician != technician or meeting.state in ("waiting", "refused"):
            raise Refused("there is a session of this id already", code="session_known")
        self._forget(meeting)
        return [HangUp(leg, LOST, "the session goes on over another leg") for leg in meeting.legs.values()]

    def device_away(self, place: Place, now: float) -> list[Effect]:
        """The device's leg was lost, which a relay may hear of first from the device."""
        meeting = self._meetings.get(place)
        if meeting is not None and meeting.state == "ended" and meeting.reason == "closed":
            # Its technician has closed the session, and the word of that was lost with the leg.
            return [CloseAtDevice(meeting.key, meeting.session, "closed")]
        if meeting is None or meeting.state != "open":
            return []
        return self._half_gone(meeting, False, "the connection of the device was lost", now)

    def _forget(self, meeting: Meeting) -> None:
        del self._meetings[meeting.place]
        others = [other for other in self._same_id.pop(meeting.session) if other is not meeting]
        if others:
            self._same_id[meeting.session] = others

    def claim(self, session: SessionId, ticket: str) -> tuple[Place, Side]:
        """Use a ticket up: it says whose session of this id is meant.

        Raises Refused (bad_ticket): for a wrong, used or foreign one, or an unknown session.
        """
        digest = _digest(ticket)
        for meeting in self._same_id.get(session, ()):
            for side, expected in list(meeting.tickets.items()):
                if hmac.compare_digest(digest, expected):
                    del meeting.tickets[side]
                    meeting.claimed.add(side)
                    if side == "console":
                        meeting.console_by = None
                    return meeting.place, side
        raise Refused("this ticket opens no leg of this session", code="bad_ticket")

    def arrive(self, place: Place, side: Side, leg: Hashable, now: float) -> list[Effect]:
        """The leg whose ticket was claimed stands."""
        meeting = self._meetings.get(place)
        if meeting is None:
            return [Say(leg, _gone()), HangUp(leg, REFUSED, "the session is over")]
        if meeting.is_over:
            return self._outcome(meeting, leg)
        meeting.legs[side] = leg
        if len(meeting.legs) == 2:
            # The device's leg is its yes, even where it overtakes the word over the link.
            meeting.state, meeting.deadline = "open", None
            return [Splice(meeting.legs["console"], meeting.legs["device"]), Changed(place, "open")]
        if side == "device" and meeting.state in ("offered", "waiting"):
            meeting.state, meeting.deadline = "accepted", now + LONE_S
            return [Changed(place, "accepted")]
        if side == "console" and meeting.waiting is not None:
            return [Say(leg, meeting.waiting)]
        return []

    # -- what the device says over its link -----------------------------------------------------------------------

    def device_waits(self, place: Place, until_at: int, wait_s: float, now: float) -> list[Effect]:
        """The customer is being asked. until_at: for the technician's eyes; wait_s: what counts, bounded."""
        meeting = self._may("waiting", place)
        if meeting is None:
            return []
        meeting.state = "waiting"
        meeting.deadline = now + min(max(wait_s, 0.0), MAX_CONSENT_WAIT_S) + WAIT_GRACE_S
        meeting.waiting = Waiting(until_at=until_at)
        said: list[Effect] = [Say(leg, meeting.waiting) for leg in self._console_leg(meeting)]
        return [*said, Changed(place, "waiting")]

    def device_accepts(self, place: Place, now: float) -> list[Effect]:
        meeting = self._may("accepted", place)
        if meeting is None or meeting.state == "accepted":
            return []
        meeting.state, meeting.deadline = "accepted", now + SPLICE_WITHIN_S
        return [Changed(place, "accepted")]

    def device_refuses(self, place: Place, refusal: LegRefused, now: float) -> list[Effect]:
        meeting = self._may("refused", place)
        return [] if meeting is None else self._finish(meeting, "refused", refusal, now)

    def device_ended(self, place: Place, reason: str, message: str, now: float) -> list[Effect]:
        """The device's word on how a session ended. Of one that is over here already, it is the better reason."""
        meeting = self._meetings.get(place)
        if meeting is None or meeting.state == "refused":
            return []
        if meeting.state == "ended":
            if meeting.reason not in ("closed", "lost"):
                return []
            meeting.reason, meeting.message = reason, message
            return [Changed(place, "ended", reason, message)]
        return self._finish(meeting, "ended", LegRefused(code=reason, message=message or reason), now, tell=False)

    def device_gone(self, key: tuple[OrganisationId, DeviceId], now: float) -> list[Effect]:
        """Its link ended. Sessions whose legs are joined go on without it."""
        effects: list[Effect] = []
        for meeting in list(self._meetings.values()):
            if meeting.key == key and not meeting.is_over and meeting.state != "open":
                effects += self._never_met(meeting, "device_offline", "the device went offline", now, tell=False)
        return effects

    # -- the end --------------------------------------------------------------------------------------------------

    def left(self, place: Place, side: Side, leg: Hashable, *, clean: bool, reason: str, now: float) -> list[Effect]:
        """A leg is gone. clean: it was closed properly, with `reason`; else its connection broke."""
        meeting = self._meetings.get(place)
        if meeting is None or meeting.legs.get(side) is not leg:
            return []
        was_open = meeting.state == "open"
        del meeting.legs[side]
        if meeting.is_over:
            return []
        if was_open:
            return self._half_gone(meeting, clean, reason, now)
        who = "the console" if side == "console" else "the device"
        message = f"{who} left before the session began"
        return self._never_met(meeting, f"{side}_left", message, now, tell=side == "console")

    def withdraw(self, place: Place, code: str, message: str, now: float) -> list[Effect]:
        """The relay or a technician ends it: given up, revoked, out of scope, the relay stops."""
        meeting = self._meetings.get(place)
        if meeting is None or meeting.is_over:
            return []
        return self._finish(meeting, "ended", LegRefused(code=code, message=message), now)

    def restart(self, now: float) -> list[Effect]:
        """The relay stops. Sessions that stand go on at the next one, as both ends ask for them again there."""
        effects: list[Effect] = []
        for meeting in self._meetings.values():
            if meeting.state == "open":
                meeting.state, meeting.deadline = "ended", now + END_WITHIN_S
                meeting.reason, meeting.message = "lost", "the relay is restarting"
                effects += [HangUp(leg, RESTARTING, meeting.message) for leg in meeting.legs.values()]
                effects.append(Changed(meeting.place, "ended", meeting.reason, meeting.message))
            elif not meeting.is_over:
                effects += self._never_met(meeting, "relay_restarting", "the relay is restarting", now)
        return effects

    @property
    def beginning(self) -> int:
        """Sessions that are asked for, and neither stand nor are over."""
        return sum(not meeting.is_over and meeting.state != "open" for meeting in self._meetings.values())

    def tick(self, now: float) -> list[Effect]:
        """Time passed. Calling it early does no harm."""
        effects: list[Effect] = []
        for meeting in list(self._meetings.values()):
            if meeting.deadline is not None and now >= meeting.deadline:
                effects += self._late(meeting, now)
            elif meeting.console_by is not None and now >= meeting.console_by:
                meeting.console_by = None
                if not meeting.is_over:
                    effects += self._never_met(meeting, "console_left", "the console never opened its leg", now)
        return effects

    def _late(self, meeting: Meeting, now: float) -> list[Effect]:
        if meeting.is_over:
            self._forget(meeting)
            return [HangUp(leg, WITHDRAWN, meeting.message) for leg in meeting.legs.values()]
        late = {
            "offered": ("device_silent", "the device did not answer"),
            "waiting": ("consent_timeout", "the customer did not answer in time"),
            "accepted": ("device_silent", "the device's side of the session did not come"),
        }
        code, message = late[meeting.state]
        if meeting.state == "accepted" and "device" in meeting.legs:
            code, message = "console_left", "the console's side of the session did not come"
        return self._never_met(meeting, code, message, now)

    def _never_met(self, meeting: Meeting, code: str, message: str, now: float, *, tell: bool = True) -> list[Effect]:
        """The two sides did not come together. Where the session stands, only this attempt is over: they try again."""
        if meeting.again:
            return self._half_gone(meeting, False, message, now)
        return self._finish(meeting, "ended", LegRefused(code=code, message=message), now, tell=tell)

    def _half_gone(self, meeting: Meeting, clean: bool, reason: str, now: float) -> list[Effect]:
        meeting.state, meeting.deadline = "ended", now + END_WITHIN_S
        meeting.reason = "closed" if clean else "lost"
        meeting.message = reason or ("closed" if clean else "the connection of one side was lost")
        code = NORMAL if clean else LOST
        hang_up: list[Effect] = [HangUp(leg, code, meeting.message) for leg in meeting.legs.values()]
        return [*hang_up, Changed(meeting.place, "ended", meeting.reason, meeting.message)]

    def _finish(
        self,
        meeting: Meeting,
        state: Literal["refused", "ended"],
        refusal: LegRefused,
        now: float,
        *,
        tell: bool = True,
    ) -> list[Effect]:
        """tell: whether the device does not know yet. (A refusal is its own.)"""
        was_open = meeting.state == "open"
        meeting.state, meeting.refusal = state, refusal
        meeting.reason, meeting.message = refusal.code, refusal.message
        meeting.tickets.pop("device", None)
        # A console that has not come yet is to hear why there is nothing to come to. Joined legs drain by
        # themselves if the device ended the session, and are cut by `_late` if they do not.
        meeting.deadline = now + (END_WITHIN_S if was_open and not tell else TELL_WITHIN_S)
        effects: list[Effect] = []
        for side, leg in list(meeting.legs.items()):
            if was_open and not tell:
                continue
            if side == "console" and not was_open:
                effects.append(Say(leg, refusal))
            effects.append(HangUp(leg, WITHDRAWN if was_open else REFUSED, refusal.message))
        if tell and state == "ended":
            effects.append(CloseAtDevice(meeting.key, meeting.session, refusal.code))
        return [*effects, Changed(meeting.place, state, refusal.code, refusal.message)]

    def _outcome(self, meeting: Meeting, leg: Hashable) -> list[Effect]:
        return [Say(leg, meeting.refusal or _gone()), HangUp(leg, REFUSED, meeting.message)]

    def _may(self, state: State, place: Place) -> Meeting | None:
        meeting = self._meetings.get(place)
        if meeting is None or (state not in TRANSITIONS[meeting.state] and state != meeting.state):
            return None
        return meeting

    def _console_leg(self, meeting: Meeting) -> list[Hashable]:
        return [meeting.legs["console"]] if "console" in meeting.legs else []


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "replace")).digest()


def _gone() -> LegRefused:
    return LegRefused(code="session_over", message="the session is over")
