"""A technician's session signature, spelled out so that any ingredient can be spoiled, and who plays in it.

It is put together byte by byte, apart from the code that makes real ones, which refuses to make most of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from protocol.certificate import (
    CertificateRules,
    assemble_certificate,
    certificate_algorithm,
)
from protocol.keys import SK_ECDSA, SK_ED25519
from protocol.revocation import Revocations
from protocol.signing import KeyRawSigner, RawSigner
from protocol.sshsig import assemble_sshsig, signed_data
from protocol.sshwire import Reader, string, u32, u64
from protocol.statement import SESSION, Purpose, Signed
from tests.support.sk_authenticator import SkAuthenticator

NOW = 1_800_000_000
DAY = 86_400
PAYLOAD = b'{"a":"session"}'


def ed(seed: int) -> KeyRawSigner:
    return KeyRawSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def p256(seed: int) -> KeyRawSigner:
    return KeyRawSigner(ec.derive_private_key(seed + 10**50, ec.SECP256R1()))


TECHNICIAN, OTHER, CA, ENROLMENT_CA, STRANGER_CA, ENROLMENT_KEY = ed(1), ed(2), ed(3), ed(4), ed(5), ed(6)


@dataclass(frozen=True)
class Recipe:
    """A session signature, spelled out so that each ingredient can be spoiled."""

    key: RawSigner = TECHNICIAN
    signing_key: RawSigner | None = None
    certified: bytes | None = None
    ca: RawSigner = CA
    ca_blob: bytes | None = None
    serial: int = 17
    kind: int = 1
    key_id: str | bytes = "ana"
    principals: tuple[str | bytes, ...] = ("admin",)
    principals_tail: bytes = b""
    valid_after: int = NOW - 60
    valid_before: int = NOW + 7 * DAY
    critical: tuple[tuple[str, bytes], ...] = ()
    extensions: tuple[tuple[str, bytes], ...] = (
        ("may@auxilio", string("shell")),
        ("permit-pty", b""),
        ("scope@auxilio", string("all")),
    )
    reserved: bytes = b""
    certificate_type: str | None = None
    certificate_tail: bytes = b""
    ca_signature: Callable[[bytes], bytes] = lambda signature: signature
    namespace: str = SESSION
    signed_namespace: str | None = None
    hash_name: str = "sha512"
    payload: bytes = PAYLOAD
    signed_payload: bytes | None = None
    signature: Callable[[bytes], bytes] = lambda signature: signature
    blob: Callable[[bytes], bytes] = lambda blob: blob
    plain_key: bool = False

    def certificate(self) -> bytes:
        public = self.certified or self.key.public
        algorithm = Reader(public).text()
        fields = public[len(string(algorithm)) :]
        options = [
            b"".join(string(name) + string(value) for name, value in pairs)
            for pairs in (self.critical, self.extensions)
        ]
        tbs = b"".join(
            (
                string(self.certificate_type or certificate_algorithm(algorithm)) + string(bytes(32)) + fields,
                u64(self.serial) + u32(self.kind) + string(self.key_id),
                string(b"".join(string(p) for p in self.principals) + self.principals_tail),
                u64(self.valid_after) + u64(self.valid_before),
                string(options[0]) + string(options[1]) + string(self.reserved),
                string(self.ca_blob or self.ca.public),
            )
        )
        return assemble_certificate(tbs, self.ca_signature(self.ca.sign_raw(tbs))) + self.certificate_tail

    def signed(self) -> Signed:
        signer = self.key.public if self.plain_key else self.certificate()
        data = signed_data(
            self.signed_namespace or self.namespace,
            self.payload if self.signed_payload is None else self.signed_payload,
            self.hash_name if self.hash_name in ("sha512", "sha256") else "sha512",
        )
        signature = self.signature((self.signing_key or self.key).sign_raw(data))
        blob = assemble_sshsig(signer, self.namespace, signature, self.hash_name)
        return Signed(payload=self.payload, signature=self.blob(blob))


@dataclass(frozen=True)
class Case:
    code: str
    recipe: Recipe
    revocations: Revocations = field(default_factory=Revocations)
    purpose: Purpose = "technician"
    now: float = NOW


def rules(revocations: Revocations | None = None, purpose: Purpose = "technician") -> CertificateRules:
    ca = {"technician": CA, "enrolment": ENROLMENT_CA}[purpose]
    return CertificateRules(
        cas=frozenset({ca.public}), revocations=revocations or Revocations(), max_validity_s=30 * DAY, purpose=purpose
    )


GOOD = Recipe()
SK_GOOD = SkAuthenticator(SK_ED25519)
SK_ABSENT = SkAuthenticator(SK_ED25519, flags=0)
SK_VERIFIED_ONLY = SkAuthenticator(SK_ECDSA, flags=0x04)
SK_WEBSITE = SkAuthenticator(SK_ECDSA, application="https://example.com")
SK_OTHER_APPLICATION = SkAuthenticator(SK_ED25519, application="ssh:other")


SK_ECDSA_GOOD = SkAuthenticator(SK_ECDSA)
SK_NOWHERE = SkAuthenticator(SK_ED25519, application="")
SK_NUL = SkAuthenticator(SK_ED25519, application="ssh:\0evil")

SMALL_ORDER_POINTS = {
    "the neutral one": (1).to_bytes(32, "little"),
    "the neutral one with a sign": (1 | 1 << 255).to_bytes(32, "little"),
    "of order 2": (2**255 - 20).to_bytes(32, "little"),
    "of order 4": bytes(32),
    "of order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "also of order 8": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}


class Swapped:
    """Signs with one security key what is claimed to be by another."""

    def __init__(self, claimed: RawSigner, signing: RawSigner) -> None:
        self.public, self.sign_raw = claimed.public, signing.sign_raw


def flip(position: int) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        spoilt = bytearray(data)
        spoilt[position] ^= 1
        return bytes(spoilt)

    return flipped


def ecdsa_signature(r: bytes, s: bytes) -> Callable[[bytes], bytes]:
    return lambda _: string("ecdsa-sha2-nistp256") + string(r + s)


def der_signature(signature: bytes) -> bytes:
    reader = Reader(signature)
    algorithm, numbers = reader.string(), Reader(reader.string())
    return string(algorithm) + string(encode_dss_signature(numbers.positive_mpint(), numbers.positive_mpint()))


def nested_ca() -> Recipe:
    return Recipe(ca_blob=Recipe(key=CA, ca=CA).certificate())
