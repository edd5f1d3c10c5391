"""Session nonces: what makes a technician's request usable once. A pure machine.

The device issues them, a small pool waits at the relay, so that a session needs no extra round trip. Each is known
only here: one that is used, too old, or from a link before this one is not known any more. A relay that hands one
nonce to two consoles gets one session.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from protocol.link import NONCE_POOL

NONCE_BYTES = 16
"""128 bits: never guessed, never repeated."""

NONCE_LIFE_S = 900.0
"""From issue to use. A request itself lives for five minutes; a console holds one while its person touches a key."""

FRESH_S = NONCE_LIFE_S / 2
"""Nonces older than this are replaced in the pool, so that a console never gets one about to die."""

MAX_OUTSTANDING = 8 * NONCE_POOL
"""A bound on memory and on what a relay can make us issue by pretending that nonces were used."""


class NoncePool:
    """Times are seconds of a monotonic clock."""

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        """entropy: returns that many random bytes."""
        self._entropy = entropy
        self._issued: dict[str, float] = {}

    def top_up(self, now: float) -> tuple[str, ...]:
        """Issue as many nonces as the relay's pool lacks of fresh ones, and return them (base64url)."""
        self._forget(now)
        fresh = sum(1 for at in self._issued.values() if now - at < FRESH_S)
        wanted = min(NONCE_POOL - fresh, MAX_OUTSTANDING - len(self._issued))
        new = tuple(self._make() for _ in range(max(wanted, 0)))
        self._issued.update(dict.fromkeys(new, now))
        return new

    def knows(self, nonce: str, now: float) -> bool:
        at = self._issued.get(nonce)
        return at is not None and now - at <= NONCE_LIFE_S

    def take(self, nonce: str, now: float) -> bool:
        """True once for each nonce that was issued and still lives."""
        known = self.knows(nonce, now)
        self._issued.pop(nonce, None)
        return known

    def age(self, now: float) -> None:
        """The link was made anew, and the relay's pool with it: what a console still holds stays good, but a whole
        new pool is due. The oldest are forgotten where links come and go faster than nonces die."""
        kept = sorted(self._issued.items(), key=lambda item: item[1])[-(MAX_OUTSTANDING - NONCE_POOL) :]
        self._issued = {nonce: min(at, now - FRESH_S) for nonce, at in kept}

    def next_deadline(self, now: float) -> float | None:
        """When `top_up` may have something to issue, always after `now`. None: nothing issued yet.

        That is when the oldest fresh nonce ages, or when one that aged long ago dies and leaves room.
        """
        ages = [at + FRESH_S for at in self._issued.values()]
        dies = [at + NONCE_LIFE_S + 1 for at in self._issued.values()]
        return min((deadline for deadline in ages + dies if deadline > now), default=None)

    def _make(self) -> str:
        return base64.urlsafe_b64encode(self._entropy(NONCE_BYTES)).rstrip(b"=").decode("ascii")

    def _forget(self, now: float) -> None:
        self._issued = {nonce: at for nonce, at in self._issued.items() if now - at <= NONCE_LIFE_S}
