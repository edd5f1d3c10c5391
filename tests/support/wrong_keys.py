"""Every key of an organisation, every namespace, every kind of certificate: whatever can be signed with them.

for attempt in Holders().attempts(payload):     # each a Signed, right in everything but (perhaps) its signer
    attempt.signed, attempt.key, attempt.namespace, attempt.certificate

Nothing is listed by hand but the kinds: a namespace that is added to protocol/statement.py is in it, and so is every
key as an issuer, its own included. One certificate would do for every purpose, were it not for who issued it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from protocol import statement
from protocol.certificate import FOREVER, HOST
from protocol.codec import decode
from protocol.enrolment import PRINCIPAL, TAGS_EXTENSION, USES_EXTENSION, EnrolStatement
from protocol.ids import DeviceId, TokenId, device_id
from protocol.policy import Relay
from protocol.signing import KeyRawSigner, PrivateKey, RawSigner
from protocol.sshsig import assemble_sshsig, signed_data
from protocol.sshwire import string
from protocol.statement import Signed
from tests.support.forgery import DAY, NOW, Recipe
from tests.support.organisation import Organisation, new_key

NAMESPACES = tuple(sorted(value for value in vars(statement).values() if str(value).endswith("@auxilio")))

TOKEN = TokenId("a" * 26)
"""The key id of every certificate: a token's id, and a technician's name."""

ACCOUNT = PRINCIPAL
"""So that one principal is good for an enrolment and for an account."""

EVERYTHING = tuple(
    sorted(
        {
            "may@auxilio": string("view,shell,files,forward,screen,run,approve"),
            "scope@auxilio": string("all"),
            TAGS_EXTENSION: string("clinic"),
            USES_EXTENSION: string("100"),
            "permit-pty": b"",
        }.items()
    )
)

SHAPES: dict[str, dict[str, Any]] = {
    "user": {},
    "host": {"kind": HOST},
    "of no kind": {"kind": 0},
    "without principals": {"principals": ()},
    "without a serial": {"serial": 0},
    "expired": {"valid_before": -1},
    "not yet valid": {"valid_after": DAY},
    "for ever": {"valid_before": FOREVER},
    "with a critical option": {"critical": (("force-command", string("true")),)},
    "by a nested CA": {},
    "another's": {},
}
"""Each spoils one thing of a Recipe; `user` none. Instants are seconds from now. `another's`: a perfect certificate,
copied from whoever it was issued to."""


@dataclass(frozen=True)
class Certificate:
    shape: str
    issuer: str
    blob: bytes

    def __str__(self) -> str:
        return f"{self.shape} by {self.issuer}"


@dataclass(frozen=True)
class Attempt:
    """certificate: None where a plain key signed."""

    key: str
    namespace: str
    certificate: Certificate | None
    signed: Signed

    def __str__(self) -> str:
        return f"{self.key} in {self.namespace}, certificate: {self.certificate or 'none'}"


class Holders:
    """An organisation and everybody's keys in it, at `now`. The release key is in its charter 2."""

    def __init__(self, *relays: Relay, now: int = NOW) -> None:
        self.now = now
        self.organisation = organisation = Organisation(*relays, now=now)
        self.device_key, self.technician, self.token_key = new_key(), new_key(), new_key()
        keys: dict[str, PrivateKey] = {
            "root": organisation.root,
            "spare root": organisation.spare,
            "policy key": organisation.policy_key,
            "technician CA": organisation.ca,
            "enrolment CA": organisation.enrolment_ca,
            "release key": (release := new_key()),
            "technician": self.technician,
            "join token": self.token_key,
            "device": self.device_key,
            "other device": new_key(),
            "relay": ec.generate_private_key(ec.SECP256R1()),
            "stranger": new_key(),
        }
        organisation.next_charter(release_keys=(organisation.line(release),))
        self.keys: dict[str, RawSigner] = {name: KeyRawSigner(key) for name, key in keys.items()}

    @property
    def device(self) -> DeviceId:
        return device_id(self.keys["device"].public)

    @cached_property
    def certificates(self) -> dict[str, tuple[Certificate, ...]]:
        """By key: of every shape, by every issuer."""
        return {
            name: tuple(
                Certificate(shape, issuer, self._certificate(name, shape, issuer))
                for shape in SHAPES
                for issuer in self.keys
            )
            for name in self.keys
        }

    def _certificate(self, name: str, shape: str, issuer: str) -> bytes:
        ca, holder = self.keys[issuer], self.keys[name]
        if shape == "another's":
            holder = self.keys["technician" if name != "technician" else "join token"]
        fields: dict[str, Any] = {
            "key": holder,
            "ca": ca,
            "ca_blob": Recipe(key=ca, ca=ca).certificate() if shape == "by a nested CA" else None,
            "key_id": TOKEN,
            "principals": (ACCOUNT,),
            "extensions": EVERYTHING,
            "valid_after": -60,
            "valid_before": 7 * DAY,
            **SHAPES[shape],
        }
        for name in ("valid_after", "valid_before"):
            if fields[name] != FOREVER:
                fields[name] += self.now
        return Recipe(**fields).certificate()

    def sign(self, payload: bytes, key: str, namespace: str, certificate: Certificate | None) -> Attempt:
        raw = self.keys[key]
        signature = raw.sign_raw(signed_data(namespace, payload))
        blob = assemble_sshsig(certificate.blob if certificate else raw.public, namespace, signature)
        return Attempt(key, namespace, certificate, Signed(payload=payload, signature=blob))

    def attempts(self, payload: bytes) -> Iterator[Attempt]:
        """`payload`, signed in every way."""
        for name in self.keys:
            for namespace in NAMESPACES:
                signature = self.keys[name].sign_raw(signed_data(namespace, payload))
                for certificate in (None, *self.certificates[name]):
                    signer = certificate.blob if certificate else self.keys[name].public
                    signed = Signed(payload=payload, signature=assemble_sshsig(signer, namespace, signature))
                    yield Attempt(name, namespace, certificate, signed)

    def enrolment(self) -> EnrolStatement:
        """What the device says of itself to join with TOKEN; its proof is good."""
        token = self.organisation.join_token()
        signed = self.organisation.enrolment(token, self.device_key, token=TOKEN)
        return decode(signed.payload, EnrolStatement)
