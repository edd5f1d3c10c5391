"""Nonces: those that this relay gives to people who log in, and those that devices give it for sessions. Pure.

Login nonces are remembered by nobody until they are used: each carries its own expiry and a MAC, so that strangers
who ask for millions of them cost no memory. Only used ones are remembered, until they expire.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict

import msgspec

from protocol.ids import OrganisationId
from protocol.login import NONCE_BYTES

LOGIN_NONCE_LIFE_S = 180
"""From asking to answering: a passphrase and a touch of a hardware key lie in between."""

MAX_POOL = 64
MAX_NONCE_LIFE_S = 3600
_HALF = 16


class LoginNonces:
    """secret: 32 bytes, new with each start of the relay; a restart only makes consoles ask again."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._used: dict[str, float] = {}

    def make(self, organisation: OrganisationId, now: float, entropy: bytes) -> str:
        """entropy: 8 bytes. Returns base64url of NONCE_BYTES: expiry (8), entropy (8), MAC (16)."""
        head = int(now + LOGIN_NONCE_LIFE_S).to_bytes(8, "big") + entropy[:8]
        return base64.urlsafe_b64encode(head + self._mac(organisation, head)).decode("ascii").rstrip("=")

    def is_good(self, nonce: str, organisation: OrganisationId, now: float) -> bool:
        """Ours, for this organisation, not expired and not used."""
        try:
            raw = base64.b64decode(nonce.encode("ascii") + b"=", altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            return False
        # Base64 has several spellings of the same bytes; only ours counts, or a used nonce could be respelled.
        if len(raw) != NONCE_BYTES or base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=") != nonce:
            return False
        if not hmac.compare_digest(raw[_HALF:], self._mac(organisation, raw[:_HALF])):
            return False
        return now <= int.from_bytes(raw[:8], "big") and nonce not in self._used

    def use(self, nonce: str, now: float) -> None:
        self._used = {known: until for known, until in self._used.items() if until > now}
        self._used[nonce] = now + LOGIN_NONCE_LIFE_S + 1

    def _mac(self, organisation: OrganisationId, head: bytes) -> bytes:
        return hmac.new(self._secret, organisation.encode() + b"\0" + head, hashlib.sha256).digest()[:_HALF]


class _Held(msgspec.Struct):
    until: float
    lent_at: float | None = None


class NoncePool:
    """The session nonces of one device's link. `now` is monotonic.

    One that was handed out stays here until a request uses it, so that consoles which ask and go away do not dry the
    pool up: when all are out, the one that has been out longest is handed out again. The first to use it has it.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, nonces: tuple[str, ...], valid_s: float, now: float) -> None:
        for nonce in nonces:
            if 0 < len(nonce) <= 64:
                self._held[nonce] = _Held(now + min(max(valid_s, 0), MAX_NONCE_LIFE_S))
        while len(self._held) > MAX_POOL:
            self._held.popitem(last=False)

    def take(self, now: float) -> str | None:
        """None: there is none."""
        self._held = OrderedDict((nonce, held) for nonce, held in self._held.items() if held.until > now)
        if not self._held:
            return None
        nonce, held = min(self._held.items(), key=lambda item: -1.0 if item[1].lent_at is None else item[1].lent_at)
        held.lent_at = max(now, 0.0)
        return nonce

    def use(self, nonce: str, now: float) -> bool:
        """Whether `nonce` was one of the device's; from now on it is not."""
        held = self._held.pop(nonce, None)
        return held is not None and held.until > now
