"""Identifiers: what they commit to, how they look, and how they are read from outside.

All are plain strings at run time and distinct types for the checker. A parser returns the canonical form or raises
BadMessage; nothing else makes an id from a stranger's text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NewType

from protocol.errors import BadMessage

DeviceId = NewType("DeviceId", str)
OrganisationId = NewType("OrganisationId", str)
SessionId = NewType("SessionId", str)
TokenId = NewType("TokenId", str)
Sha256 = NewType("Sha256", str)

DEVICE_ID_BITS = 100
"""80 bits would let a rich attacker make a colliding pair; 100 keep 20 characters that can be read out on the phone."""

_DEVICE = re.compile(r"[a-z2-7]{5}(-[a-z2-7]{5}){3}\Z")
_ORGANISATION = re.compile(r"[a-z2-7]{52}\Z")
_RANDOM = re.compile(r"[a-z2-7]{26}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def device_id(public_key: bytes) -> DeviceId:
    """The id of the device whose public key is `public_key` (SSH wire format, RFC 4253 section 6.6)."""
    text = _base32(hashlib.sha256(public_key).digest())[: DEVICE_ID_BITS // 5]
    return DeviceId("-".join(text[i : i + 5] for i in range(0, len(text), 5)))


def organisation_id(charter_1: bytes) -> OrganisationId:
    """The id of the organisation whose first charter's payload is `charter_1`: its whole SHA-256, in base32."""
    return OrganisationId(_base32(hashlib.sha256(charter_1).digest()))


def random_id(entropy: bytes) -> str:
    """A session, token or case id from 16 bytes of entropy: 26 characters."""
    if len(entropy) != 16:
        raise ValueError("16 bytes of entropy make an id")
    return _base32(entropy)


def sha256(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())


def parse_device_id(text: str) -> DeviceId:
    """The full id in `text`, in any case, with or without its hyphens."""
    bare = text.strip().lower().replace("-", "")
    grouped = "-".join(bare[i : i + 5] for i in range(0, len(bare), 5))
    if len(text) > 64 or not _DEVICE.match(grouped):
        raise BadMessage("not a device id", hint="A device id is four groups of five letters and digits 2-7.")
    return DeviceId(grouped)


def parse_organisation_id(text: str) -> OrganisationId:
    if not _ORGANISATION.match(text):
        raise BadMessage("not an organisation's fingerprint", hint="`auxilio authority show` prints it.")
    return OrganisationId(text)


def parse_session_id(text: str) -> SessionId:
    if not _RANDOM.match(text):
        raise BadMessage("not a session id")
    return SessionId(text)


def parse_sha256(text: str) -> Sha256:
    if not _SHA256.match(text):
        raise BadMessage("not a SHA-256 in hexadecimal")
    return Sha256(text)
