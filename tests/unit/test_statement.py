"""Statements: one namespace a purpose, a plain key or a certificate as is due, and the bytes that verified."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import protocol.statement as statement
from protocol.codec import decode, encode
from protocol.errors import AuxilioError
from protocol.keys import SK_ECDSA, SK_ED25519
from protocol.signing import KeyRawSigner, KeySigner, RawSigner, SshsigSigner
from protocol.sshwire import string
from protocol.statement import LOGIN, POLICY, SESSION, Signed, open_by_certificate, open_by_key, seal_statement
from protocol.technician import read_technician
from tests.support.forgery import CA, NOW, OTHER, PAYLOAD, TECHNICIAN, Recipe, p256, rules
from tests.support.sk_authenticator import SkAuthenticator

NAMESPACES = [
    statement.CHARTER,
    statement.POLICY,
    statement.LOGIN,
    statement.LINK,
    statement.ENROL,
    statement.DEVICE,
    statement.REPORT,
    statement.SESSION,
    statement.JOB,
    statement.WAVE,
    statement.RELEASE,
]
KEYS: list[RawSigner] = [TECHNICIAN, p256(1), SkAuthenticator(SK_ED25519), SkAuthenticator(SK_ECDSA)]


def reason(signed: Signed, namespace: str = POLICY, keys: set[bytes] | None = None, limit: int = 1000) -> str:
    try:
        open_by_key(signed, namespace=namespace, keys=keys or {TECHNICIAN.public}, limit=limit)
    except AuxilioError as exc:
        return exc.reason
    return "good"


def test_namespaces_are_those_of_the_design() -> None:
    assert len(set(NAMESPACES)) == len(NAMESPACES)
    assert all(namespace.endswith("@auxilio") for namespace in NAMESPACES)


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    signer = SshsigSigner(TECHNICIAN)
    sealed = {namespace: seal_statement(signer, namespace, PAYLOAD) for namespace in NAMESPACES}
    assert all(reason(sealed[namespace], namespace) == "good" for namespace in NAMESPACES)
    assert {reason(sealed[a], b) for a, b in permutations(NAMESPACES, 2)} == {"wrong_namespace"}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_what_is_opened_are_the_bytes_that_were_signed(key: RawSigner) -> None:
    payload = b'{"b": 1,\n "a": 1}'  # neither sorted nor compact: nothing is encoded anew
    signed = decode(encode(seal_statement(SshsigSigner(key), POLICY, payload)), Signed)
    opened = open_by_key(signed, namespace=POLICY, keys={OTHER.public, key.public})
    assert opened.payload == payload and opened.key.blob == key.public


def test_a_key_in_memory_signs_as_its_raw_signer_does() -> None:
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    assert KeySigner(key).sign(POLICY, PAYLOAD) == SshsigSigner(KeyRawSigner(key)).sign(POLICY, PAYLOAD)


def test_the_payloads_length_is_looked_at_before_anything_else() -> None:
    assert reason(Signed(payload=b"x" * 11, signature=b""), limit=10) == "too_long"
    assert reason(seal_statement(SshsigSigner(TECHNICIAN), POLICY, b"x" * 10), limit=10) == "good"


def test_nobody_is_trusted_where_no_keys_are_given() -> None:
    signed = seal_statement(SshsigSigner(TECHNICIAN), POLICY, PAYLOAD)
    with pytest.raises(AuxilioError) as caught:
        open_by_key(signed, namespace=POLICY, keys=())
    assert caught.value.reason == "unknown_signer"


def test_a_certified_key_does_not_count_as_the_plain_one_nor_the_other_way_round() -> None:
    certified = Recipe(namespace=POLICY).signed()
    assert reason(certified) == "certificate_not_due"
    assert reason(certified, keys={Recipe().certificate()}) == "certificate_not_due", "not even if it is listed"
    plain = Recipe(plain_key=True).signed()
    with pytest.raises(AuxilioError) as caught:
        open_by_certificate(plain, namespace=SESSION, rules=rules(), now=NOW)
    assert caught.value.reason == "certificate_due"


def test_the_ca_itself_is_no_technician() -> None:
    with pytest.raises(AuxilioError) as caught:
        open_by_certificate(Recipe(key=CA, plain_key=True).signed(), namespace=SESSION, rules=rules(), now=NOW)
    assert caught.value.reason == "certificate_due"


def test_a_good_certificate_of_the_same_key_may_take_the_place_of_another() -> None:
    """The signature does not cover the certificate beside it. This is why narrowing rights takes a revocation."""
    narrow = Recipe()
    wide = replace(
        narrow, serial=18, extensions=(("may@auxilio", string("run,shell")), ("scope@auxilio", string("all")))
    )
    swapped = Signed(
        payload=PAYLOAD,
        signature=narrow.signed().signature.replace(string(narrow.certificate()), string(wide.certificate())),
    )
    opened = open_by_certificate(swapped, namespace=SESSION, rules=rules(), now=NOW)
    assert read_technician(opened.certificate).rights == {"run", "shell"}


def test_a_certificate_of_another_key_may_not() -> None:
    mine, theirs = Recipe(), Recipe(key=OTHER)
    swapped = mine.signed().signature.replace(string(mine.certificate()), string(theirs.certificate()))
    with pytest.raises(AuxilioError) as caught:
        open_by_certificate(Signed(payload=PAYLOAD, signature=swapped), namespace=SESSION, rules=rules(), now=NOW)
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize("field", ["payload", "signature"])
def test_a_statement_with_an_unknown_field_or_without_a_known_one_is_refused(field: str) -> None:
    text = encode(seal_statement(SshsigSigner(TECHNICIAN), LOGIN, PAYLOAD))
    for spoilt in (text.replace(b"}", b',"x":1}'), text.replace(field.encode(), b"x"), b"{}", b"[]", b'"x"'):
        with pytest.raises(AuxilioError):
            decode(spoilt, Signed)
