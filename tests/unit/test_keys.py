"""Public keys: what is a key to us, what is none, and what a signature by one must be."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from protocol.errors import AuxilioError, BadMessage
from protocol.keys import (
    ECDSA,
    ED25519,
    MAX_LINE_CHARS,
    P256_ORDER,
    SK_ECDSA,
    SK_ED25519,
    fingerprint,
    line_blob,
    parse_public_key,
    parse_public_line,
    public_line,
    verify,
)
from protocol.signing import KeyRawSigner, RawSigner
from protocol.sshwire import Reader, mpint, string
from tests.support.forgery import SMALL_ORDER_POINTS, TECHNICIAN, Recipe, p256
from tests.support.sk_authenticator import SkAuthenticator

KEYS: dict[str, RawSigner] = {
    ED25519: TECHNICIAN,
    ECDSA: p256(1),
    SK_ED25519: SkAuthenticator(SK_ED25519),
    SK_ECDSA: SkAuthenticator(SK_ECDSA),
}
LINE = public_line(TECHNICIAN.public)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_key_survives_its_line_and_its_blob(algorithm: str) -> None:
    blob = KEYS[algorithm].public
    key = parse_public_key(blob)
    assert key == parse_public_line(f"  {key.line} ana@laptop, a comment\r\n")
    assert (key.algorithm, key.blob) == (algorithm, blob)
    assert key.application == ("ssh:" if algorithm.startswith("sk-") else "")


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_signature_is_good_for_its_bytes_and_its_key_alone(algorithm: str) -> None:
    signer = KEYS[algorithm]
    key = parse_public_key(signer.public)
    verify(key, signer.sign_raw(b"bytes"), b"bytes")
    for other in set(KEYS) - {algorithm}:
        with pytest.raises(AuxilioError) as caught:
            verify(parse_public_key(KEYS[other].public), signer.sign_raw(b"bytes"), b"bytes")
        assert caught.value.reason == "wrong_algorithm"
    with pytest.raises(AuxilioError) as caught:
        verify(key, signer.sign_raw(b"bytes"), b"byteZ")
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !!!!",
        "ssh-ed25519 ñandú",
        LINE.replace("ssh-ed25519", "ecdsa-sha2-nistp256"),
        LINE.split()[1],
        f'cert-authority,principals="root" {LINE}',
        f"{LINE}\n{LINE}",
        f"{LINE}\nrestrict",
        LINE.replace(" ", "\n"),
        f"{LINE} comment\u2028{LINE}",
        LINE + "A",
        LINE[:-4],
        LINE + "=",
        LINE[:-1] + "B" if LINE.endswith("A") else LINE + "====",
        f"{LINE} " + "x" * MAX_LINE_CHARS,
    ],
)
def test_a_line_that_is_not_one_key_is_none(line: str) -> None:
    with pytest.raises(BadMessage):
        parse_public_line(line)


def test_where_a_key_is_due_a_certificate_is_none() -> None:
    line = public_line(Recipe().certificate())
    assert line_blob(line)
    with pytest.raises(BadMessage) as caught:
        parse_public_line(line)
    assert caught.value.reason == "unknown_algorithm"


@pytest.mark.parametrize("point", SMALL_ORDER_POINTS.values(), ids=SMALL_ORDER_POINTS.keys())
@pytest.mark.parametrize("algorithm", [ED25519, SK_ED25519])
def test_a_key_for_which_anybody_can_sign_is_none(algorithm: str, point: bytes) -> None:
    application = string("ssh:") if algorithm == SK_ED25519 else b""
    with pytest.raises(BadMessage) as caught:
        parse_public_key(string(algorithm) + string(point) + application)
    assert caught.value.reason == "weak_key"


@pytest.mark.parametrize("y", [2**255 - 19, 2**255 - 18, 2**255 - 1])
def test_a_key_has_one_form(y: int) -> None:
    """y = p is y = 0 written otherwise: two ids for one device."""
    with pytest.raises(BadMessage) as caught:
        parse_public_key(string(ED25519) + string(y.to_bytes(32, "little")))
    assert caught.value.reason == "bad_key"


def test_an_ecdsa_signature_has_a_twin_so_signatures_name_nothing() -> None:
    """s and n - s both verify, here and in OpenSSH, which makes either. What is to be one has its payload's hash."""
    signer = p256(1)
    key = parse_public_key(signer.public)
    reader = Reader(signer.sign_raw(b"bytes"))
    reader.string()
    numbers = Reader(reader.string())
    r, s = numbers.positive_mpint(), numbers.positive_mpint()
    verify(key, string(ECDSA) + string(mpint(r) + mpint(P256_ORDER - s)), b"bytes")


def test_an_ecdsa_signature_by_another_digest_is_refused() -> None:
    private = ec.derive_private_key(10**30, ec.SECP256R1())
    r, s = decode_dss_signature(private.sign(b"bytes", ec.ECDSA(hashes.SHA384())))
    assert encode_dss_signature(r, s)
    with pytest.raises(AuxilioError):
        verify(parse_public_key(KeyRawSigner(private).public), string(ECDSA) + string(mpint(r) + mpint(s)), b"bytes")


def test_a_security_key_s_answer_is_bound_to_flags_counter_and_application() -> None:
    signer = SkAuthenticator(SK_ED25519)
    key = parse_public_key(signer.public)
    verified = SkAuthenticator(SK_ED25519, flags=0x05)  # touched, and the PIN was given
    verify(key, verified.sign_raw(b"bytes"), b"bytes")
    for flags, code in ((0x00, "no_user_presence"), (0x04, "no_user_presence"), (0xFE, "no_user_presence")):
        with pytest.raises(AuxilioError) as caught:
            verify(key, SkAuthenticator(SK_ED25519, flags=flags).sign_raw(b"bytes"), b"bytes")
        assert caught.value.reason == code


def test_a_fingerprint_is_unpadded_base64_of_the_digest() -> None:
    text = fingerprint(TECHNICIAN.public)
    assert text.startswith("SHA256:") and not text.endswith("=")
    assert len(base64.b64decode(text.removeprefix("SHA256:") + "=")) == 32
