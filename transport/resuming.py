"""How a leg that lost its connection gets another one for the same session: when to try, for how long, and when not."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from protocol.errors import Unavailable
from transport.websocket import ABNORMAL, GOING_AWAY, Connection

log = logging.getLogger(__name__)

RESUME_FOR_S = 600.0
"""A modem that restarts is back in three minutes, one that updates its firmware in eight."""

ATTEMPT_WITHIN_S = 5.0
"""Asking, dialling and the handshake. Where the line comes back meanwhile, a new attempt is sooner there than an old
one, whose packets are repeated after 1, 3 and 7 s."""

ATTEMPT_GROWTH, LONGEST_ATTEMPT_S = 1.5, 30.0
"""From one attempt to the next: where a relay, or hundreds of sessions on one machine, are too slow for the first, the
same again would only keep them so. A connection that nobody answers is given up sooner (transport.dial)."""

LONGEST_PAUSE_S = 1.0
"""Between attempts. Somebody sits before the terminal and waits; there are as many of them as there are sessions, and
not as there are devices, so that a relay which restarts bears it."""

FIRST_PAUSE_S = 0.1

LOST = 4001
"""Close code of a relay's: the other leg's connection broke."""

SERVICE_RESTART = 1012
"""Registered for that (IANA, WebSocket Close Code Number Registry)."""

LOOK_S = 1.0
ASK_EVERY, DEAD_AFTER, DOUBTED_AFTER = 4, 15, 5
"""Looks at a connection that says nothing: so often it is asked; then it counts as dead; and so soon if it was doubted.
Looks, not seconds: a process that was stopped itself shall not blame the others. A relay that has no time for its
answers is not helped by new connections, so it is given some."""


def may_go_on(code: int) -> bool:
    """Whether a connection that was closed so was lost, and not ended by somebody (RFC 6455, section 7.4)."""
    return code in (ABNORMAL, GOING_AWAY, SERVICE_RESTART, LOST)


def pause_s(attempt: int, uniform: Callable[[float, float], float]) -> float:
    """Before the next attempt, after `attempt` failed ones: full jitter."""
    return uniform(0.0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 8)))


def attempt_within_s(first_s: float, attempt: int) -> float:
    """For the attempt after `attempt` failed ones, of which the first had `first_s`."""
    return min(first_s * ATTEMPT_GROWTH ** min(attempt, 8), max(first_s, LONGEST_ATTEMPT_S))


class Lost(Unavailable):
    code = "session_lost"
    default_hint = "Begin a new session; `auxilio devices` says whether the device is online."


class Silence:
    """Whether a connection is still there, by what is heard from it. Pure."""

    def __init__(self) -> None:
        self._looks = 0
        self._doubted = False

    def doubt(self) -> None:
        self._doubted = True
        self._looks = 0

    def look(self, heard: bool) -> Literal["fine", "ask", "dead"]:
        """heard: whether anything came since the last look."""
        if heard:
            self._looks, self._doubted = 0, False
            return "fine"
        self._looks += 1
        if self._looks >= (DOUBTED_AFTER if self._doubted else DEAD_AFTER):
            return "dead"
        return "ask" if self._looks % ASK_EVERY == 0 else "fine"


def _nothing() -> None:
    pass


class Resuming(msgspec.Struct, frozen=True):
    """dial: one attempt at a new connection, spliced; Unavailable means try again, any other error that it is over.

    on_away, on_back: the connection was lost; there is a new one.
    """

    dial: Callable[[], Awaitable[Connection]]
    for_s: float = RESUME_FOR_S
    attempt_s: float = ATTEMPT_WITHIN_S
    on_away: Callable[[], None] = _nothing
    on_back: Callable[[], None] = _nothing

    async def redial(self) -> Connection:
        """Attempts until one succeeds. Raises Lost after `for_s`, or what `dial` raises but Unavailable."""
        attempt, reason = 0, ""
        try:
            async with asyncio.timeout(self.for_s):
                while True:
                    try:
                        async with asyncio.timeout(attempt_within_s(self.attempt_s, attempt)):
                            return await self.dial()
                    except Unavailable as exc:
                        reason = exc.message
                    except TimeoutError:
                        reason = "no answer"
                    log.info("the session goes on later: %s", reason)
                    await asyncio.sleep(pause_s(attempt, random.uniform))
                    attempt += 1
        except TimeoutError:
            why = f": {reason}" if reason else ""
            raise Lost(f"the connection was lost, and did not come back within {self.for_s:.0f} s{why}") from None
