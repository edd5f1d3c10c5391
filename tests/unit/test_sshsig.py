"""SSHSIG: what a key signs, byte for byte, and the armor."""

from __future__ import annotations

import hashlib

import pytest

from protocol.errors import BadMessage
from protocol.sshsig import armor, assemble_sshsig, dearmor, parse_sshsig, signed_data
from protocol.sshwire import string

BLOB = assemble_sshsig(b"key", "session@auxilio", b"signature")


def test_what_a_key_signs_is_that_of_protocol_sshsig() -> None:
    """byte[6] magic, string namespace, string reserved, string hash, string H(message)."""
    digest = hashlib.sha512(b"message").digest()
    assert signed_data("a@b", b"message") == (b"SSHSIG\0\0\0\3a@b\0\0\0\0\0\0\0\6sha512\0\0\0\x40" + digest)


def test_no_two_questions_are_the_same_bytes() -> None:
    """Lengths are part of what is signed: bytes cannot move from the namespace into the hash's name."""
    asked = [
        ("a", b"x", "sha512"),
        ("a", b"x", "sha256"),
        ("as", b"x", "sha512"),
        ("", b"x", "sha512"),
        ("a", b"", "sha512"),
    ]
    assert len({signed_data(*each) for each in asked}) == len(asked)
    assert not any(signed_data(*each).startswith(b"\0\0\0\x20") for each in asked), "nor those of an SSH login"


def test_a_signature_is_read_back() -> None:
    sshsig = parse_sshsig(BLOB)
    assert (sshsig.signer, sshsig.namespace, sshsig.hash, sshsig.signature) == (
        b"key",
        "session@auxilio",
        "sha512",
        b"signature",
    )


@pytest.mark.parametrize(
    ("blob", "code"),
    [
        (b"", "truncated"),
        (b"SSHSI", "truncated"),
        (b"sshsig" + BLOB[6:], "bad_magic"),
        (BLOB[:6] + b"\0\0\0\2" + BLOB[10:], "unknown_version"),
        (BLOB[:6] + b"\0\0\0\0" + BLOB[10:], "unknown_version"),
        (BLOB.replace(string("sha512"), string("md5")), "unknown_hash"),
        (
            BLOB.replace(string("session@auxilio") + string(""), string("session@auxilio") + string("r")),
            "reserved_in_use",
        ),
        (BLOB + b"\0", "trailing_bytes"),
        (BLOB + BLOB, "trailing_bytes"),
        (bytes(20_000), "too_long"),
    ],
)
def test_every_fault_has_its_code(blob: bytes, code: str) -> None:
    with pytest.raises(BadMessage) as caught:
        parse_sshsig(blob)
    assert caught.value.reason == code


def test_armor_survives_carriage_returns_and_blanks_around_it() -> None:
    text = armor(BLOB)
    assert dearmor(text) == dearmor("\n\n  " + text.replace("\n", "\r\n") + "\n") == BLOB
    assert max(len(line) for line in text.splitlines()) <= 70


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\nA\n-----END SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\nñ\n-----END SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\nAA=A\n-----END SSH SIGNATURE-----",
        "-----BEGIN PGP SIGNATURE-----\nAAAA\n-----END PGP SIGNATURE-----",
        armor(BLOB) + "x",
        "x" + armor(BLOB),
        armor(BLOB) * 2,
        armor(bytes(40_000)),
    ],
)
def test_what_is_no_armor_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        dearmor(text)
