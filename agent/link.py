"""The link's states: when to dial which relay, and why it was offline. Pure; link_driver.py does it.

WAITING --deadline--> DIALLING --Welcome--> LINKED
   ^                     | failed              | ended, Goodbye, no pong
   +---------------------+---------------------+
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from protocol.backoff import CALM_S, Backoff
from protocol.policy import Relay

NO_RELAY_S = 60.0
"""Until it is looked again, where no document names a relay; a network that changes ends it sooner."""

NEXT_RELAY_S = 1.0
"""At most, between a relay that could not be had and the next one of the same round. Some jitter is enough there:
whoever lost a link has waited already."""

WAITED_FOR_S = 1.0
"""At most, between dials while a technician waits for a session to go on; that ends with the session's own patience."""

NETWORK_DIALS_EVERY_S, NETWORK_DIALS_AT_ONCE = 10.0, 3
"""A modem that restarts changes the network three times (cable, address, route), and each may be the one that helps. A
machine whose containers come and go changes its network every second, and a relay that is down must not notice."""


class State(Enum):
    WAITING = "waiting"
    DIALLING = "dialling"
    LINKED = "linked"


class Dial(msgspec.Struct, frozen=True):
    relay: Relay


def has_moved(used: str, now_used: str | None) -> bool:
    """Whether a connection from our address `used` has lost its way: packets to its other end leave from another one.

    now_used: None where no way leads there at the moment. That may be over in a second, and TCP survives it: the other
    end is asked, and not given up.
    """
    return now_used is not None and now_used != used


class LinkMachine:
    """now: monotonic seconds; at: Unix seconds, for people."""

    def __init__(self, uniform: Callable[[float, float], float], now: float, at: float, *, last: str = "") -> None:
        """last: the URL of the relay that served before our last start: dialled first, if it is still named."""
        self._uniform = uniform
        self._backoff = Backoff()
        self._deadline = now
        self._last = last
        self._turn = 0
        self._choices = 1
        self._failures = 0  # dials in a row
        self._linked_since = now
        self._network_dials_until = now  # as a leaky bucket: what it was filled up to
        self.state = State.WAITING
        self.since_at = int(at)
        self.relay: Relay | None = None
        self.offline_reason = ""
        self.offline_since_at = 0
        self.last_failure = ""

    def next_deadline(self) -> float | None:
        """When to call on_tick; None while there is nothing to wait for."""
        return self._deadline if self.state is State.WAITING else None

    def on_tick(self, relays: tuple[Relay, ...], now: float) -> Dial | None:
        """relays: the policy's, in its order. Each failure moves on to the next; a success stays."""
        if self.state is not State.WAITING or now < self._deadline:
            return None
        if not relays:
            self._deadline = now + NO_RELAY_S
            return None
        if self._last:
            urls = [relay.url for relay in relays]
            self._turn = urls.index(self._last) if self._last in urls else 0
            self._last = ""
        self.state = State.DIALLING
        self._choices = len(relays)
        self.relay = relays[self._turn % len(relays)]
        return Dial(self.relay)

    def must_leave(self, relays: tuple[Relay, ...]) -> bool:
        """True where a new policy does not name the relay any more, or trusts it otherwise than it was dialled."""
        return self.state is not State.WAITING and self.relay not in relays

    def on_welcome(self, now: float, at: float) -> None:
        self._backoff.connected(now)
        self.state = State.LINKED
        self._linked_since = now
        self._failures = 0
        self.last_failure = ""
        self.since_at = int(at)

    def on_ended(
        self,
        reason: str,
        now: float,
        at: float,
        *,
        return_after_s: float | None = None,
        ours: bool = False,
        waited_for: bool = False,
    ) -> None:
        """The attempt failed or the link ended.

        ours: the reason lies on this side (the network, a sleep, a setting), so the same relay is dialled again.
        waited_for: somebody sits before a session that goes on once there is a link.
        The reason that ended a link is kept, not those of the attempts after it: it answers "why was it offline?",
        to the relay in the next Hello and to whoever asks for the status.
        """
        was_linked = self.state is State.LINKED
        self.last_failure = reason[:300]
        if was_linked or not self.offline_reason:
            self.offline_reason, self.offline_since_at = reason[:300], int(at)
        if was_linked:
            self.since_at = int(at)
        # A relay that served well and broke is tried first; if it is gone, that costs one dial.
        served = was_linked and now - self._linked_since >= CALM_S
        blamed = return_after_s is None and not ours
        if blamed and not served:
            self._turn += 1
        if blamed and not was_linked:
            self._failures += 1
        self.state = State.WAITING
        if blamed and not was_linked and self._failures % self._choices:
            self._deadline = now + self._uniform(0.0, NEXT_RELAY_S)
            return
        self._backoff.disconnected(now, blamed=not ours)
        self._deadline = now + self._backoff.next_delay_s(self._uniform, return_after_s=return_after_s)
        if waited_for:
            self.hurry(now + self._uniform(0.0, WAITED_FOR_S))

    def hurry(self, at: float) -> None:
        """A policy names other relays, or somebody set another way: wait no longer than until `at`."""
        if self.state is State.WAITING:
            self._deadline = min(self._deadline, at)

    def on_network_changed(self, now: float) -> None:
        """Or the machine woke: what failed may work now. Dial at once, but not again and again."""
        filled = max(self._network_dials_until, now)
        at = max(now, filled - (NETWORK_DIALS_AT_ONCE - 1) * NETWORK_DIALS_EVERY_S)
        if self.state is State.WAITING and at < self._deadline:
            self._deadline = at
            self._network_dials_until = filled + NETWORK_DIALS_EVERY_S
