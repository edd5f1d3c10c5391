"""How far a session has come, and how long each part of the way may take."""

from __future__ import annotations

from enum import Enum

READY_WITHIN_S = 30.0
"""A child imports for 0.3 s; on a swapping laptop with a failing disk for much longer."""

JOINED_WITHIN_S = 100.0
"""Dialling, and the console's leg, which has 90 s."""

AUTHENTICATED_WITHIN_S = 90.0


class State(Enum):
    STARTING = "starting"
    DIALLING = "dialling"
    HANDSHAKE = "handshake"
    OPEN = "open"


DEADLINES: dict[State, tuple[float, str]] = {
    State.STARTING: (READY_WITHIN_S, "the session's process did not start in time"),
    State.DIALLING: (JOINED_WITHIN_S, "the console's side of the session never came"),
    State.HANDSHAKE: (AUTHENTICATED_WITHIN_S, "the client did not authenticate in time"),
}
