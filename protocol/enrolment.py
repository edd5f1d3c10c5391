"""Enrolment: what an installer carries, and how a device joins with it.

The join token holds an enrolment key and its certificate; the relay never sees that key. With it the device signs a
statement that names its own new key. The result is a *provisional* device: tokens are copied about in installers, so
what counts is the device record that an admin signs later.
"""

from __future__ import annotations

import base64
import binascii

from protocol.certificate import Certificate, extension_text
from protocol.codec import Strict, decode, encode
from protocol.errors import BadMessage, ConfigInvalid, Refused, Untrusted
from protocol.ids import DeviceId, OrganisationId, TokenId, device_id
from protocol.keys import parse_public_line
from protocol.policy import MAX_RELAYS, Relay
from protocol.selector import parse_tag
from protocol.statement import ENROL, CertificateRules, Signed, open_by_certificate, open_by_key

PREFIX = "auxilio-join-"
MAX_TOKEN_CHARS = 16 * 1024
MAX_ENROL_BYTES = 16 * 1024
MAX_USES = 1_000_000
PRINCIPAL = "enrol"
"""The one principal of an enrolment certificate: it can be no account's."""

TAGS_EXTENSION = "tags@auxilio"
USES_EXTENSION = "uses@auxilio"


class JoinToken(Strict, frozen=True, kw_only=True):
    """What `auxilio-join-` + base64url(JSON) holds.

    key: 32-byte Ed25519 seed of the enrolment key.  certificate: its public line, signed by the enrolment CA; the
    key id is the token's id, valid_before its end.
    """

    version: int = 1
    organisation: OrganisationId
    relays: tuple[Relay, ...]
    key: bytes
    certificate: str

    def text(self) -> str:
        return PREFIX + base64.urlsafe_b64encode(encode(self)).decode("ascii").rstrip("=")


def parse_join_token(text: str) -> JoinToken:
    """Raises ConfigInvalid with a hint: a token is pasted by hand, and pasted wrong."""
    hint = "Paste the whole token, from `auxilio-join-` to its end, as `auxilio join-token create` printed it."
    bare = "".join(text[: MAX_TOKEN_CHARS + 1].split())
    if not bare.startswith(PREFIX) or len(bare) > MAX_TOKEN_CHARS:
        raise ConfigInvalid("this is not a join token", hint=hint, code="bad_token")
    try:
        body = bare[len(PREFIX) :].encode("ascii")
        data = base64.b64decode(body + b"=" * (-len(body) % 4), altchars=b"-_", validate=True)
        token = decode(data, JoinToken)
    except (binascii.Error, UnicodeEncodeError, BadMessage) as exc:
        raise ConfigInvalid("the join token is damaged or cut short", hint=hint, code="bad_token") from exc
    if token.version != 1 or len(token.key) != 32 or not 1 <= len(token.relays) <= MAX_RELAYS:
        raise ConfigInvalid("the join token is of a kind that is not known here", hint=hint, code="bad_token")
    return token


class TokenGrant(Strict, frozen=True, kw_only=True):
    """What an enrolment certificate says. uses: how many devices may join.  not_after_at: Unix seconds."""

    token: TokenId
    tags: tuple[str, ...]
    uses: int
    not_after_at: int


class EnrolProof(Strict, frozen=True, kw_only=True):
    """Signed by the device key in enrol@auxilio: whoever enrols a key holds it, and says all this of the device.

    Tokens are copied about: were the sealing key not in here, whoever has a token could enrol the device once more with
    one of their own, and an admin would vouch for that.
    """

    organisation: OrganisationId
    token: TokenId
    sealing_key: str
    machine: str
    hostname: str
    issued_at: int


class EnrolStatement(Strict, frozen=True, kw_only=True):
    """Signed by the enrolment key, with its certificate, in enrol@auxilio.

    device_key: public line.  sealing_key: age recipient.  machine: hash of the machine's id, to notice clones.
    hostname: as the device calls itself; for people only.  proof: EnrolProof signed by device_key.
    """

    organisation: OrganisationId
    token: TokenId
    device_key: str
    sealing_key: str
    machine: str
    hostname: str
    issued_at: int
    proof: Signed

    def proven(self) -> EnrolProof:
        """What `proof` has to say."""
        return EnrolProof(**{name: getattr(self, name) for name in EnrolProof.__struct_fields__})


class VerifiedEnrolment(Strict, frozen=True, kw_only=True):
    device: DeviceId
    statement: EnrolStatement
    grant: TokenGrant


def _required_text(certificate: Certificate, name: str) -> str:
    text = extension_text(certificate, name)
    if text is None:
        raise Untrusted(f"the enrolment certificate lacks {name}", code="bad_extension")
    return text


def read_token_grant(certificate: Certificate) -> TokenGrant:
    """What a verified enrolment certificate grants. Raises Untrusted (bad_extension, bad_principal), BadMessage."""
    if certificate.principals != (PRINCIPAL,):
        raise Untrusted("an enrolment certificate has the principal `enrol` alone", code="bad_principal")
    # OpenSSH has no extension with an empty text: a token that suggests no tags has none.
    tags = tuple(t for t in (extension_text(certificate, TAGS_EXTENSION) or "").split(",") if t)
    for tag in tags:
        parse_tag(tag)
    uses = _required_text(certificate, USES_EXTENSION)
    if not (uses.isascii() and uses.isdigit() and 1 <= int(uses[:9]) <= MAX_USES):
        raise Untrusted("a token has between one and a million uses", code="bad_extension")
    return TokenGrant(
        token=TokenId(certificate.key_id), tags=tags, uses=int(uses[:9]), not_after_at=certificate.valid_before
    )


def open_proof(statement: EnrolStatement) -> DeviceId:
    """Return the id of the device that said all that `statement` says, whoever enrolled it.

    Raises Untrusted (wrong_proof, unknown_signer, bad_signature), BadMessage.
    """
    key = parse_public_line(statement.device_key)
    if key.algorithm != "ssh-ed25519":
        raise BadMessage("a device key is an Ed25519 key")
    proof = open_by_key(statement.proof, namespace=ENROL, keys={key.blob}, limit=4096)
    if decode(proof.payload, EnrolProof) != statement.proven():
        raise Untrusted("the device key's proof is for another enrolment", code="wrong_proof")
    return device_id(key.blob)


def verify_enrolment(
    signed: Signed, *, rules: CertificateRules, organisation: OrganisationId, now: float
) -> VerifiedEnrolment:
    """Return who joins, if a token of this organisation lets it. Uses are counted by whoever keeps the count.

    Raises Untrusted, BadMessage, or Refused with code wrong_organisation, wrong_token, token_revoked.
    """
    opened = open_by_certificate(signed, namespace=ENROL, rules=rules, now=now, limit=MAX_ENROL_BYTES)
    statement = decode(opened.payload, EnrolStatement, limit=MAX_ENROL_BYTES)
    grant = read_token_grant(opened.certificate)
    if statement.organisation != organisation:
        raise Refused("the enrolment is for another organisation", code="wrong_organisation")
    if statement.token != grant.token:
        raise Refused("the enrolment names another token than it is signed with", code="wrong_token")
    if rules.revocations.token_revoked(grant.token):
        raise Refused("the join token was revoked", code="token_revoked", hint="Ask for a new one.")
    if len(statement.hostname) > 255 or len(statement.machine) > 64 or len(statement.sealing_key) > 100:
        raise BadMessage("the enrolment's texts are too long")
    return VerifiedEnrolment(device=open_proof(statement), statement=statement, grant=grant)
