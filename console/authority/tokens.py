"""Making join tokens: an enrolment key that lives in the token alone, and its certificate by the enrolment CA."""

from __future__ import annotations

import secrets

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.authority.issue import BACKDATED_S, SERIAL_BITS
from console.authority.ledger import IssuedToken, Ledger
from console.authority.store import Store
from protocol.authority import MAX_TOKEN_LIFE_S
from protocol.enrolment import MAX_USES, PRINCIPAL, TAGS_EXTENSION, USES_EXTENSION, JoinToken
from protocol.errors import Refused, UsageInvalid
from protocol.ids import random_id
from protocol.keys import parse_public_key, public_line
from protocol.selector import parse_tag
from protocol.signing import RawSigner, issue_certificate, public_blob

DEFAULT_USES = 1
DEFAULT_LIFE_S = 7 * 86_400


class NewToken(msgspec.Struct, frozen=True):
    """text: the token itself, to be handed on now; it is kept nowhere here."""

    issued: IssuedToken
    text: str


def make_token(store: Store, ca: RawSigner, *, tags: tuple[str, ...], uses: int, life_s: int, now: int) -> NewToken:
    """Enter a token into the ledger and return it. now: Unix seconds. Raises UsageInvalid, BadMessage, Refused."""
    if not 1 <= uses <= MAX_USES:
        raise UsageInvalid(f"a token has between one and {MAX_USES} uses", hint="--uses 20")
    if not 60 <= life_s <= MAX_TOKEN_LIFE_S - BACKDATED_S:
        raise UsageInvalid("a token lives between a minute and a year", hint="--valid 7d")
    relays = store.policy.policy.relays
    if not relays:
        raise Refused(
            "the policy names no relay that a device could join at",
            code="no_relay",
            hint="auxilio policy edit --relay https://HOST:PORT --pin PIN --publish",
        )
    private = Ed25519PrivateKey.generate()
    token = random_id(secrets.token_bytes(16))
    sorted_tags = tuple(sorted({parse_tag(tag) for tag in tags}))
    serial = secrets.randbits(SERIAL_BITS) or 1
    certificate = issue_certificate(
        ca,
        parse_public_key(public_blob(private)),
        entropy=secrets.token_bytes(32),
        serial=serial,
        key_id=token,
        principals=(PRINCIPAL,),
        valid_after=now - BACKDATED_S,
        valid_before=now + life_s,
        extensions=({TAGS_EXTENSION: ",".join(sorted_tags)} if sorted_tags else {}) | {USES_EXTENSION: str(uses)},
    )
    issued = IssuedToken(
        token=token, serial=serial, tags=",".join(sorted_tags), uses=uses, issued_at=now, not_after_at=now + life_s
    )
    Ledger(store.folder).add_token(issued)
    text = JoinToken(
        organisation=store.authority.organisation,
        relays=relays,
        key=private.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        ),
        certificate=public_line(certificate),
    ).text()
    return NewToken(issued, text)
