"""The table of forgeries: each is a valid technician's session signature with one thing wrong, and its refusal's code.

A case that the verifier accepted would be a shell on a customer's machine. The first test shows that the recipe
without a fault is accepted, so that no case passes for another reason than its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from protocol.certificate import (
    FOREVER,
    HOST,
    CertificateRules,
    assemble_certificate,
    certificate_algorithm,
    certificate_to_sign,
)
from protocol.errors import AuxilioError
from protocol.keys import P256_ORDER, SK_ECDSA, SK_ED25519, fingerprint, parse_public_key
from protocol.revocation import Revocations, RevokedKey, RevokedKeyId, RevokedSerial
from protocol.signing import KeyRawSigner, RawSigner, issue_certificate
from protocol.sshsig import assemble_sshsig, signed_data
from protocol.sshwire import Reader, mpint, string, u32, u64
from protocol.statement import JOB, LOGIN, SESSION, Purpose, Signed, open_by_certificate, open_by_key
from protocol.technician import read_technician
from tests.support.sk_authenticator import SkAuthenticator

NOW = 1_800_000_000
DAY = 86_400
PAYLOAD = b'{"a":"session"}'


def ed(seed: int) -> KeyRawSigner:
    return KeyRawSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


def p256(seed: int) -> KeyRawSigner:
    return KeyRawSigner(ec.derive_private_key(seed + 10**50, ec.SECP256R1()))


TECHNICIAN, OTHER, CA, ENROLMENT_CA, STRANGER_CA = ed(1), ed(2), ed(3), ed(4), ed(5)


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
                string(b"".join(string(p) for p in self.principals)),
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


class _Swapped:
    """Signs with one security key what is claimed to be by another."""

    def __init__(self, claimed: RawSigner, signing: RawSigner) -> None:
        self.public, self.sign_raw = claimed.public, signing.sign_raw


def flip(position: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def ecdsa_signature(r: bytes, s: bytes) -> Callable[[bytes], bytes]:
    return lambda _: string("ecdsa-sha2-nistp256") + string(r + s)


def nested_ca() -> Recipe:
    return Recipe(ca_blob=Recipe(key=CA, ca=CA).certificate())


EXTENSIONS = GOOD.extensions

CASES = {
    # -- what was signed, and for which purpose
    "another namespace": Case("wrong_namespace", Recipe(namespace=LOGIN)),
    "a job's signature": Case("wrong_namespace", Recipe(namespace=JOB)),
    "a namespace that only begins alike": Case("wrong_namespace", Recipe(namespace=SESSION + ".evil")),
    "an empty namespace": Case("wrong_namespace", Recipe(namespace="")),
    "the namespace of ssh-keygen's files": Case("wrong_namespace", Recipe(namespace="file")),
    "a namespace changed after signing": Case("bad_signature", Recipe(signed_namespace=LOGIN)),
    "a payload changed after signing": Case("bad_signature", Recipe(signed_payload=b'{"a":"sessioN"}')),
    "a payload cut": Case("bad_signature", Recipe(payload=PAYLOAD[:-1], signed_payload=PAYLOAD)),
    "a payload with a byte more": Case("bad_signature", Recipe(payload=PAYLOAD + b" ", signed_payload=PAYLOAD)),
    "a payload that is too long": Case("too_long", Recipe(payload=b" " * (1024 * 1024 + 1))),
    # -- by whom
    "a plain key where a certificate is due": Case("certificate_due", Recipe(plain_key=True)),
    "a signature by another key": Case("bad_signature", Recipe(signing_key=OTHER)),
    "a certificate for another key": Case("bad_signature", Recipe(certified=OTHER.public)),
    "a signature by the CA itself": Case("bad_signature", Recipe(signing_key=CA)),
    "a signature of zeros": Case(
        "bad_signature", Recipe(signature=lambda _: string("ssh-ed25519") + string(bytes(64)))
    ),
    "an empty signature": Case("bad_signature", Recipe(signature=lambda _: string("ssh-ed25519") + string(b""))),
    "a signature of another algorithm's name": Case(
        "wrong_algorithm", Recipe(signature=lambda s: string("ecdsa-sha2-nistp256") + s[4 + 11 :])
    ),
    "an RSA signature": Case("wrong_algorithm", Recipe(signature=lambda s: string("rsa-sha2-512") + s[15:])),
    "a signature with a flipped bit": Case("bad_signature", Recipe(signature=flip(40))),
    "a signature with bytes after it": Case("trailing_bytes", Recipe(signature=lambda s: s + b"\0")),
    "an Ed25519 signature whose S is not reduced": Case(
        "bad_signature",
        Recipe(
            signature=lambda s: (
                s[:-32]
                + (int.from_bytes(s[-32:], "little") + 2**252 + 27742317777372353535851937790883648493).to_bytes(
                    32, "little"
                )
            )
        ),
    ),
    # -- the certificate's kind and issuer
    "a host certificate": Case("host_certificate", Recipe(kind=HOST)),
    "a certificate of no kind": Case("host_certificate", Recipe(kind=0)),
    "a certificate of a kind to come": Case("host_certificate", Recipe(kind=3)),
    "a stranger's CA": Case("wrong_ca", Recipe(ca=STRANGER_CA)),
    "the enrolment CA signing a technician": Case("wrong_ca", Recipe(ca=ENROLMENT_CA)),
    "the technician CA signing an enrolment": Case("wrong_ca", Recipe(ca=CA), purpose="enrolment"),
    "a technician's own key as CA": Case("wrong_ca", Recipe(ca=TECHNICIAN)),
    "a nested CA": Case("nested_ca", nested_ca()),
    "the right CA's name over a stranger's signature": Case("bad_signature", Recipe(ca=STRANGER_CA, ca_blob=CA.public)),
    "a CA signature of another algorithm": Case(
        "wrong_algorithm", Recipe(ca_signature=lambda s: string("ssh-rsa") + s[15:])
    ),
    "a CA signature with bytes after it": Case("trailing_bytes", Recipe(ca_signature=lambda s: s + b"\0")),
    "a CA that is an RSA key": Case(
        "unknown_algorithm", Recipe(ca_blob=string("ssh-rsa") + mpint(65537) + mpint(3**99))
    ),
    "an RSA certificate": Case("unknown_algorithm", Recipe(certificate_type="ssh-rsa-cert-v01@openssh.com")),
    "an old certificate format": Case("certificate_due", Recipe(certificate_type="ssh-ed25519-cert-v00@openssh.com")),
    # -- what it says
    "no principals": Case("no_principals", Recipe(principals=())),
    "an empty principal": Case("bad_principal", Recipe(principals=("",))),
    "a principal with a comma": Case("bad_principal", Recipe(principals=("deploy,root",))),
    "a principal with a blank": Case("bad_principal", Recipe(principals=("admin root",))),
    "a principal with a newline": Case("bad_principal", Recipe(principals=("admin\n",))),
    "a principal with a NUL": Case("bad_principal", Recipe(principals=("admin\0",))),
    "a principal with a star": Case("bad_principal", Recipe(principals=("*",))),
    "a good principal and a bad one": Case("bad_principal", Recipe(principals=("admin", "a,b"))),
    "a principal that is not UTF-8": Case("bad_text", Recipe(principals=(b"\xff",))),
    "too many principals": Case("too_long", Recipe(principals=tuple(f"p{n}" for n in range(65)))),
    "serial 0": Case("serial_zero", Recipe(serial=0)),
    "an empty key id": Case("bad_key_id", Recipe(key_id="")),
    "a key id with an escape": Case("bad_key_id", Recipe(key_id="ana\x1b[2J")),
    "a key id that is not UTF-8": Case("bad_text", Recipe(key_id=b"\xff\xfe")),
    "an unknown critical option": Case("unknown_critical_option", Recipe(critical=(("tomorrow@auxilio", b""),))),
    "force-command": Case("unknown_critical_option", Recipe(critical=(("force-command", string("true")),))),
    "source-address": Case("unknown_critical_option", Recipe(critical=(("source-address", string("10.0.0.0/8")),))),
    "verify-required": Case("unknown_critical_option", Recipe(critical=(("verify-required", b""),))),
    "an extension named twice": Case("bad_options", Recipe(extensions=(*EXTENSIONS[:1], *EXTENSIONS))),
    "extensions out of order": Case("bad_options", Recipe(extensions=EXTENSIONS[::-1])),
    "a reserved field in use": Case("reserved_in_use", Recipe(reserved=b"x")),
    "bytes after the certificate": Case("trailing_bytes", Recipe(certificate_tail=b"\0")),
    "a certificate that is too long": Case("too_long", Recipe(extensions=(("a", bytes(13_000)), *EXTENSIONS))),
    # -- when
    "expired": Case("expired", Recipe(valid_before=NOW)),
    "expired long ago": Case("expired", Recipe(valid_after=0, valid_before=NOW - 10 * DAY)),
    "not yet valid": Case("not_yet_valid", Recipe(valid_after=NOW + 1)),
    "valid forever": Case("too_long_lived", Recipe(valid_after=0, valid_before=FOREVER)),
    "valid until the end of time from now": Case("too_long_lived", Recipe(valid_before=FOREVER)),
    "valid for longer than the policy allows": Case("too_long_lived", Recipe(valid_before=NOW - 60 + 30 * DAY + 1)),
    "valid before it is valid after": Case("expired", Recipe(valid_after=NOW - 60, valid_before=NOW - 120)),
    "a validity that overflows 63 bits": Case("too_long_lived", Recipe(valid_before=2**63)),
    # -- revoked
    "revoked by serial": Case(
        "revoked",
        GOOD,
        Revocations(serials=(RevokedSerial(ca=fingerprint(CA.public), serial=17),)),
    ),
    "revoked by key": Case("revoked", GOOD, Revocations(keys=(RevokedKey(key=fingerprint(TECHNICIAN.public)),))),
    "revoked by key id": Case("revoked", GOOD, Revocations(key_ids=(RevokedKeyId(key_id="ana"),))),
    "revoked by its CA's key": Case("revoked", GOOD, Revocations(keys=(RevokedKey(key=fingerprint(CA.public)),))),
    "revoked since tomorrow, for what acts now": Case(
        "revoked", GOOD, Revocations(key_ids=(RevokedKeyId(key_id="ana", since=NOW + DAY),))
    ),
    # -- the format
    "an unknown hash": Case("unknown_hash", Recipe(hash_name="sha1")),
    "a hash that was not the one signed": Case(
        "bad_signature", Recipe(blob=lambda b: b.replace(string("sha512"), string("sha256")))
    ),
    "no magic": Case("bad_magic", Recipe(blob=flip(0))),
    "an unknown version": Case("unknown_version", Recipe(blob=flip(9))),
    "truncated by a byte": Case("truncated", Recipe(blob=lambda b: b[:-1])),
    "truncated in its header": Case("truncated", Recipe(blob=lambda b: b[:8])),
    "empty": Case("truncated", Recipe(blob=lambda _: b"")),
    "bytes after the signature": Case("trailing_bytes", Recipe(blob=lambda b: b + b"\0")),
    "a huge length": Case("too_long", Recipe(blob=lambda b: b[:10] + b"\xff\xff\xff\xff" + b[14:])),
    "a signature that is too long": Case("too_long", Recipe(blob=lambda b: b + bytes(20_000))),
    # -- ECDSA and security keys
    "ECDSA with r of zero": Case("bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(mpint(0), mpint(5)))),
    "ECDSA with s of the group's order": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(mpint(5), mpint(P256_ORDER)))
    ),
    "ECDSA with a negative r": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(string(b"\x80"), mpint(5)))
    ),
    "ECDSA with an r that is not minimal": Case(
        "bad_integer", Recipe(key=p256(1), signature=ecdsa_signature(string(b"\0\5"), mpint(5)))
    ),
    "ECDSA by another key": Case("bad_signature", Recipe(key=p256(1), signing_key=p256(2))),
    "a security key without user presence": Case("no_user_presence", Recipe(key=SK_ABSENT)),
    "a security key with a PIN but no touch": Case("no_user_presence", Recipe(key=SK_VERIFIED_ONLY)),
    "a security key made for a website": Case("wrong_application", Recipe(key=SK_WEBSITE, certified=SK_WEBSITE.public)),
    "a security key's signature for another application": Case(
        "bad_signature",
        Recipe(key=_Swapped(SK_GOOD, SK_OTHER_APPLICATION)),
    ),
    "a plain signature for a security key": Case("wrong_algorithm", Recipe(key=_Swapped(SK_GOOD, TECHNICIAN))),
    "a security key's touch flag added afterwards": Case(
        "bad_signature",
        Recipe(key=_Swapped(SK_ABSENT, SK_ABSENT), signature=lambda s: s[:-5] + b"\x01" + s[-4:]),
    ),
}


def test_the_recipe_without_a_fault_is_accepted() -> None:
    opened = open_by_certificate(GOOD.signed(), namespace=SESSION, rules=rules(), now=NOW)
    assert opened.payload == PAYLOAD and read_technician(opened.certificate).name == "ana"


@pytest.mark.parametrize("key", [p256(1), SK_GOOD, SkAuthenticator(SK_ECDSA)], ids=["ecdsa", "sk-ed25519", "sk-ecdsa"])
def test_each_kind_of_key_is_accepted(key: RawSigner) -> None:
    assert open_by_certificate(Recipe(key=key).signed(), namespace=SESSION, rules=rules(), now=NOW)


def test_a_long_lived_statement_survives_a_later_revocation_and_not_a_compromise() -> None:
    signed = GOOD.signed()

    def opens(since: int | None) -> bool:
        revoked = Revocations(key_ids=(RevokedKeyId(key_id="ana", since=since),))
        try:
            open_by_certificate(signed, namespace=SESSION, rules=rules(revoked), now=NOW, long_lived=True)
        except AuxilioError:
            return False
        return True

    assert opens(NOW + 1) and not opens(NOW) and not opens(NOW - 1) and not opens(None)


def test_the_table_has_the_cases_that_matter() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_forgery_is_refused_for_its_own_reason(case: Case) -> None:
    signed = case.recipe.signed()
    with pytest.raises(AuxilioError) as caught:
        open_by_certificate(
            signed,
            namespace=SESSION,
            rules=rules(case.revocations, case.purpose),
            now=case.now,
        )
    assert caught.value.reason == case.code, str(caught.value)


@pytest.mark.parametrize(
    ("code", "recipe"),
    [
        ("certificate_not_due", GOOD),
        ("unknown_signer", Recipe(plain_key=True, key=OTHER)),
        ("wrong_namespace", Recipe(plain_key=True, namespace=JOB)),
        ("bad_signature", Recipe(plain_key=True, signing_key=OTHER)),
    ],
)
def test_where_a_plain_key_is_due_nothing_else_will_do(code: str, recipe: Recipe) -> None:
    good = replace(recipe, plain_key=True, key=TECHNICIAN, signing_key=None, namespace=SESSION)
    assert open_by_key(good.signed(), namespace=SESSION, keys={TECHNICIAN.public})
    with pytest.raises(AuxilioError) as caught:
        open_by_key(recipe.signed(), namespace=SESSION, keys={TECHNICIAN.public})
    assert caught.value.reason == code


@pytest.mark.parametrize(
    ("extensions", "code"),
    [
        ((("may@auxilio", string("shell")),), "no_scope"),
        ((("may@auxilio", b"shell"), ("scope@auxilio", string("all"))), "bad_extension"),
        ((("may@auxilio", string("shell") + b"x"), ("scope@auxilio", string("all"))), "bad_extension"),
        ((("may@auxilio", string("shell")), ("scope@auxilio", string("online"))), "bad_extension"),
        ((("may@auxilio", string("shell")), ("scope@auxilio", string("(("))), "bad_extension"),
    ],
)
def test_rights_and_scope_that_cannot_be_read_are_none(extensions: tuple[tuple[str, bytes], ...], code: str) -> None:
    opened = open_by_certificate(Recipe(extensions=extensions).signed(), namespace=SESSION, rules=rules(), now=NOW)
    with pytest.raises(AuxilioError) as caught:
        read_technician(opened.certificate)
    assert caught.value.reason == code


def test_a_certificate_without_rights_gives_none() -> None:
    recipe = Recipe(extensions=(("scope@auxilio", string("all")),))
    opened = open_by_certificate(recipe.signed(), namespace=SESSION, rules=rules(), now=NOW)
    assert read_technician(opened.certificate).rights == frozenset()


@pytest.mark.parametrize(
    "spoil",
    [
        {"serial": 0},
        {"principals": ()},
        {"principals": ("deploy,root",)},
        {"valid_before": FOREVER},
        {"key_id": "a b"},
        {"entropy": b"short"},
        {"valid_before": NOW - 60},
    ],
)
def test_what_would_be_refused_is_not_issued(spoil: dict[str, object]) -> None:
    arguments: dict[str, object] = {
        "entropy": bytes(32),
        "serial": 1,
        "key_id": "ana",
        "principals": ("admin",),
        "valid_after": NOW - 60,
        "valid_before": NOW + 60,
        "extensions": {},
    }
    key = parse_public_key(TECHNICIAN.public)
    assert certificate_to_sign(key, parse_public_key(CA.public), **arguments)  # type: ignore[arg-type]
    with pytest.raises(AuxilioError):
        issue_certificate(CA, key, **{**arguments, **spoil})  # type: ignore[arg-type]
