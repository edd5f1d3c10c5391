"""Keys in memory and in files: what loads, what does not, and that each refusal says what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from protocol.errors import ConfigInvalid
from protocol.keys import ECDSA, ED25519, parse_public_key, verify
from protocol.signing import KeyRawSigner, PrivateKey, load_private_key, private_key_pem, public_blob

ED = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
P256 = ec.derive_private_key(10**30, ec.SECP256R1())
PLAIN = private_key_pem(ED)


def same(one: PrivateKey, other: PrivateKey) -> bool:
    return public_blob(one) == public_blob(other)


@pytest.mark.parametrize(("key", "algorithm"), [(ED, ED25519), (P256, ECDSA)])
def test_a_key_survives_its_file_and_signs(key: PrivateKey, algorithm: str) -> None:
    loaded = load_private_key(private_key_pem(key))
    assert same(loaded, key)
    public = parse_public_key(public_blob(loaded))
    assert public.algorithm == algorithm
    verify(public, KeyRawSigner(loaded).sign_raw(b"bytes"), b"bytes")


def test_a_passphrase_opens_its_file_and_is_ignored_where_none_is_needed() -> None:
    locked = private_key_pem(ED, b"correct horse")
    assert same(load_private_key(locked, b"correct horse"), ED)
    assert same(load_private_key(PLAIN, b"correct horse"), ED)
    assert same(load_private_key(PLAIN, b""), ED)


def locked() -> bytes:
    return private_key_pem(ED, b"correct horse")


def pkcs8() -> bytes:
    return ED.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def of_another_kind(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | dsa.DSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    ("pem", "passphrase", "code"),
    [
        (locked, None, "passphrase_needed"),
        (locked, b"", "passphrase_needed"),
        (locked, b"wrong", "bad_passphrase"),
        (lambda: locked()[:-90], b"correct horse", "bad_passphrase"),
        (lambda: PLAIN[:100], None, "bad_key"),
        (lambda: PLAIN.replace(b"A", b"B", 9), None, "bad_key"),
        (lambda: b"", None, "bad_key"),
        (lambda: b"\xff" * 300, None, "bad_key"),
        (lambda: b"ssh-ed25519 AAAA ana", None, "bad_key"),
        (pkcs8, None, "bad_key"),
        (lambda: of_another_kind(rsa.generate_private_key(65537, 2048)), None, "bad_key"),
        (lambda: of_another_kind(ec.generate_private_key(ec.SECP384R1())), None, "bad_key"),
    ],
)
def test_a_file_that_is_no_key_of_ours_is_one_line_and_a_hint(
    pem: Callable[[], bytes], passphrase: bytes | None, code: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load_private_key(pem(), passphrase)
    assert caught.value.reason == code
    assert caught.value.hint and "\n" not in caught.value.message
