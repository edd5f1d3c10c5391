"""Whom a policy no longer trusts, by any of the names they go by."""

from __future__ import annotations

from typing import Annotated

import msgspec

from protocol.codec import Record
from protocol.ids import DeviceId, TokenId

MAX_REVOCATIONS = 20_000
"""Entries of a kind: a policy with all of them stays below MAX_DOCUMENT_BYTES."""


Fingerprint = Annotated[str, msgspec.Meta(pattern=r"^SHA256:[A-Za-z0-9+/]{43}\Z")]
"""As keys.fingerprint writes it. Any other text would match no key: a revocation that revokes nothing, silently."""


class RevokedSerial(Record, frozen=True, kw_only=True):
    """A certificate, by its serial and the fingerprint of the CA that issued it. since: see Revocations."""

    ca: Fingerprint
    serial: int
    since: int | None = None


class RevokedKey(Record, frozen=True, kw_only=True):
    """A key by its fingerprint, "SHA256:...", in whichever certificate it appears."""

    key: Fingerprint
    since: int | None = None


class RevokedKeyId(Record, frozen=True, kw_only=True):
    """Every certificate with this key id: a technician by name."""

    key_id: str
    since: int | None = None


class RevokedToken(Record, frozen=True, kw_only=True):
    token: TokenId
    since: int | None = None


class RevokedDevice(Record, frozen=True, kw_only=True):
    device: DeviceId
    since: int | None = None


class Revocations(Record, frozen=True, kw_only=True):
    """since: Unix seconds, or None for "always".

    For what acts now (logins, sessions, jobs, enrolments) any entry counts. For statements that outlive a certificate
    (device records), an entry with `since` leaves in force what was signed before it; one without voids everything.
    """

    serials: tuple[RevokedSerial, ...] = ()
    keys: tuple[RevokedKey, ...] = ()
    key_ids: tuple[RevokedKeyId, ...] = ()
    tokens: tuple[RevokedToken, ...] = ()
    devices: tuple[RevokedDevice, ...] = ()

    def device_revoked(self, device: DeviceId) -> bool:
        return any(entry.device == device for entry in self.devices)

    def token_revoked(self, token: TokenId) -> bool:
        return any(entry.token == token for entry in self.tokens)

    def certificate_revoked(
        self, *, ca: str, serial: int, key: str, key_id: str, signed_at: float | None = None
    ) -> bool:
        """ca, key: fingerprints.  signed_at: when a long-lived statement was signed; None for what acts now."""
        matching: list[int | None] = [e.since for e in self.serials if e.serial == serial and e.ca == ca]
        matching += [e.since for e in self.keys if e.key in (key, ca)]
        matching += [e.since for e in self.key_ids if e.key_id == key_id]
        return any(signed_at is None or since is None or signed_at >= since for since in matching)
