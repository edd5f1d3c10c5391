"""The link's states: when to dial which relay, and why it was offline. Pure; link_driver.py does it.

WAITING --deadline--> DIALLING --Welcome--> LINKED
   ^                     | failed              | ended, Goodbye, no pong
   +---------------------+---------------------+
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from protocol.backoff import Backoff
from protocol.policy import Relay

NO_RELAY_S = 60.0
"""Until it is looked again, where no document names a relay; `hurry` ends it sooner."""


class State(Enum):
    WAITING = "waiting"
    DIALLING = "dialling"
    LINKED = "linked"


class Dial(msgspec.Struct, frozen=True):
    relay: Relay


class LinkMachine:
    """now: monotonic seconds; at: Unix seconds, for people."""

    def __init__(self, uniform: Callable[[float, float], float], now: float, at: float) -> None:
        self._uniform = uniform
        self._backoff = Backoff()
        self._deadline = now
        self._turn = 0
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
        self.state = State.DIALLING
        self.relay = relays[self._turn % len(relays)]
        return Dial(self.relay)

    def must_leave(self, relays: tuple[Relay, ...]) -> bool:
        """True where a new policy does not name the relay any more, or trusts it otherwise than it was dialled."""
        return self.state is not State.WAITING and self.relay not in relays

    def on_welcome(self, now: float, at: float) -> None:
        self._backoff.connected(now)
        self.state = State.LINKED
        self.last_failure = ""
        self.since_at = int(at)

    def on_ended(self, reason: str, now: float, at: float, *, return_after_s: float | None = None) -> None:
        """The attempt failed or the link ended.

        The reason that ended a link is kept, not those of the attempts after it: it answers "why was it offline?",
        to the relay in the next Hello and to whoever asks for the status.
        """
        was_linked = self.state is State.LINKED
        self.last_failure = reason[:300]
        if was_linked or not self.offline_reason:
            self.offline_reason, self.offline_since_at = reason[:300], int(at)
        if was_linked:
            self.since_at = int(at)
        if return_after_s is None:
            self._turn += 1
        self._backoff.disconnected(now)
        self.state = State.WAITING
        self._deadline = now + self._backoff.next_delay_s(self._uniform, return_after_s=return_after_s)

    def hurry(self, at: float) -> None:
        """The network changed, the machine woke, or a policy names other relays: wait no longer than until `at`."""
        if self.state is State.WAITING:
            self._deadline = min(self._deadline, at)
