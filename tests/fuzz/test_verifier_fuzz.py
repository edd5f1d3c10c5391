"""From valid signatures: cut, flipped, spliced and grown. Only an unchanged one is accepted; nothing crashes."""

from __future__ import annotations

import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.certificate import USER, CertificateRules, assemble_certificate, parse_certificate
from protocol.errors import AuxilioError
from protocol.keys import SK_ECDSA, SK_ED25519, line_blob, parse_public_key, public_line
from protocol.revocation import Revocations
from protocol.signing import KeyRawSigner, RawSigner, SshsigSigner, issue_certificate
from protocol.sshsig import armor, dearmor, parse_sshsig
from protocol.statement import SESSION, Signed, open_by_certificate
from tests.support.effort import LONG
from tests.support.sk_authenticator import SkAuthenticator

EXAMPLES = 5_000 if LONG else 300
BITS = range(8) if LONG else (0, 3, 7)

NOW = 1_800_000_000
PAYLOAD = b'{"what":"a session"}'
CA = KeyRawSigner(ed25519.Ed25519PrivateKey.from_private_bytes(b"c" * 32))
KEYS: dict[str, RawSigner] = {
    "ed25519": KeyRawSigner(ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)),
    "ecdsa": KeyRawSigner(ec.derive_private_key(10**30, ec.SECP256R1())),
    "sk-ed25519": SkAuthenticator(SK_ED25519),
    "sk-ecdsa": SkAuthenticator(SK_ECDSA),
}
RULES = CertificateRules(
    cas=frozenset({CA.public}), revocations=Revocations(), max_validity_s=10_000, purpose="technician"
)


def _vector(key: RawSigner) -> tuple[bytes, bytes]:
    certificate = issue_certificate(
        CA,
        parse_public_key(key.public),
        entropy=bytes(32),
        serial=9,
        key_id="ana",
        principals=("admin", "user"),
        valid_after=NOW - 10,
        valid_before=NOW + 100,
        extensions={"may@auxilio": "shell", "scope@auxilio": "all"},
    )
    return certificate, SshsigSigner(key, certificate).sign(SESSION, PAYLOAD)


VECTORS = {name: _vector(key) for name, key in KEYS.items()}
GOOD = frozenset(signature for _, signature in VECTORS.values())


def accepted(signature: bytes, payload: bytes = PAYLOAD) -> bool:
    try:
        signed = Signed(payload=payload, signature=signature)
        open_by_certificate(signed, namespace=SESSION, rules=RULES, now=NOW)
    except AuxilioError:
        return False
    return True


@pytest.mark.parametrize("name", VECTORS)
def test_every_cut_is_refused(name: str) -> None:
    signature = VECTORS[name][1]
    assert accepted(signature)
    assert not any(accepted(signature[:end]) for end in range(len(signature)))
    assert not any(accepted(signature[start:]) for start in range(1, len(signature)))


@pytest.mark.parametrize("name", VECTORS)
def test_every_flipped_bit_is_refused(name: str) -> None:
    signature = VECTORS[name][1]
    for position in range(len(signature)):
        for bit in BITS:
            spoilt = bytearray(signature)
            spoilt[position] ^= 1 << bit
            assert not accepted(bytes(spoilt)), f"byte {position}, bit {bit}"


@pytest.mark.parametrize("name", VECTORS)
def test_every_byte_set_to_an_extreme_is_refused(name: str) -> None:
    """Lengths of zero, lengths of 4 GiB, and negative integers are among them."""
    signature = VECTORS[name][1]
    for width in (1, 4):
        for position in range(len(signature) - width + 1):
            for extreme in (b"\0", b"\x7f", b"\x80", b"\xff"):
                spoilt = signature[:position] + extreme * width + signature[position + width :]
                assert accepted(spoilt) == (spoilt == signature), f"byte {position}, {extreme!r} {width} times"


@pytest.mark.parametrize("name", VECTORS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_certificate_with_its_fields_from_elsewhere_is_refused(name: str, data: st.DataObject) -> None:
    """Two strings of the wire format change places, with their lengths right: the reader finds no fault of shape."""
    signature = VECTORS[name][1]
    spans = _strings(signature)
    one, other = (data.draw(st.sampled_from(spans)) for _ in range(2))
    spoilt = signature[: one[0]] + signature[other[0] : other[1]] + signature[one[1] :]
    assert accepted(spoilt) == (spoilt in GOOD)


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_whatever_the_ca_was_made_to_sign_only_a_sound_certificate_is_accepted(data: st.DataObject) -> None:
    """Here the fault is signed for, so that nothing but the certificate's own checks stands in the way."""
    key = KEYS["ed25519"]
    tbs = bytearray(parse_certificate(VECTORS["ed25519"][0]).tbs)
    # Past the type, the nonce and the key, so that most of what is drawn gets far.
    for _ in range(data.draw(st.integers(1, 3))):
        tbs[data.draw(st.integers(108, len(tbs) - 52))] = data.draw(st.sampled_from((0, 1, 2, 9, 44, 127, 128, 255)))
    certificate = assemble_certificate(bytes(tbs), CA.sign_raw(bytes(tbs)))
    signed = Signed(payload=PAYLOAD, signature=SshsigSigner(key, certificate).sign(SESSION, PAYLOAD))
    try:
        opened = open_by_certificate(signed, namespace=SESSION, rules=RULES, now=NOW).certificate
    except AuxilioError:
        return
    assert opened.kind == USER and opened.serial and opened.principals and not opened.critical_options
    assert all(re.fullmatch(r"[A-Za-z0-9._@+\-]+", name) for name in (*opened.principals, opened.key_id))
    assert opened.valid_after <= NOW < opened.valid_before <= opened.valid_after + RULES.max_validity_s
    assert opened.blob == certificate and list(opened.extensions) == sorted(opened.extensions)


def _strings(blob: bytes) -> list[tuple[int, int]]:
    """Where in `blob` something stands that can be read as a string: start and end, its length included."""
    spans = []
    for start in range(len(blob) - 4):
        length = int.from_bytes(blob[start : start + 4], "big")
        if start + 4 + length <= len(blob):
            spans.append((start, start + 4 + length))
    return spans


@pytest.mark.parametrize("name", VECTORS)
@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data())
def test_a_spliced_signature_is_refused(name: str, data: st.DataObject) -> None:
    signature = VECTORS[name][1]
    start = data.draw(st.integers(0, len(signature)))
    end = data.draw(st.integers(start, len(signature)))
    other = VECTORS[data.draw(st.sampled_from(sorted(VECTORS)))][1]
    filler = data.draw(st.one_of(st.binary(max_size=80), st.just(other[start:end]), st.just(other)))
    spoilt = signature[:start] + filler + signature[end:]
    assert accepted(spoilt) == (spoilt in GOOD)


@settings(max_examples=EXAMPLES, deadline=None)
@given(payload=st.binary(max_size=60))
def test_another_payload_is_refused(payload: bytes) -> None:
    assert accepted(VECTORS["ed25519"][1], payload) == (payload == PAYLOAD)


@settings(max_examples=EXAMPLES, deadline=None)
@given(blob=st.binary(max_size=400))
def test_any_bytes_are_refused_by_every_reader_with_the_one_error(blob: bytes) -> None:
    readers = (parse_certificate, parse_public_key, parse_sshsig, lambda b: dearmor(b.decode("latin-1")))
    for reader in readers:
        with pytest.raises(AuxilioError):
            reader(blob)


@settings(max_examples=EXAMPLES, deadline=None)
@given(text=st.text(max_size=200))
def test_any_line_is_a_key_or_the_one_error(text: str) -> None:
    try:
        blob = line_blob(text)
    except AuxilioError:
        return
    assert public_line(blob).split()[0] == text.split()[0]


@given(blob=st.binary(min_size=1, max_size=400))
def test_armor_and_dearmor_are_inverse(blob: bytes) -> None:
    assert dearmor(armor(blob)) == blob
