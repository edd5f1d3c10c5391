"""The verifier before bytes that others made: OpenSSH's own tests, Wycheproof, and certificates by ssh-keygen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protocol.certificate import CertificateRules, check_certificate, parse_certificate
from protocol.errors import AuxilioError
from protocol.keys import (
    ECDSA,
    ED25519,
    PublicKey,
    fingerprint,
    line_blob,
    parse_public_key,
    parse_public_line,
    verify,
)
from protocol.revocation import Revocations
from protocol.sshsig import armor, dearmor, parse_sshsig, signed_data
from protocol.sshwire import mpint, string
from protocol.statement import SESSION, Signed, open_by_certificate, open_by_key
from protocol.technician import read_technician

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "ssh"
OPENSSH = VECTORS / "openssh"
TECHNICIAN = VECTORS / "technician"
KINDS = ("ed25519", "ecdsa", "sk-ed25519", "sk-ecdsa")
WITHIN, BEFORE, AFTER = 1_799_000_000, 1_790_000_000, 1_801_000_000
"""2027-01-03; the certificates are valid from 2027-01-01 to 2027-01-08."""


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "ed25519_sk", "ecdsa_sk"])
def test_signatures_of_openssh_s_own_tests_verify(name: str) -> None:
    key = parse_public_line((OPENSSH / f"{name}.pub").read_text())
    text = (OPENSSH / f"{name}.sig").read_text()
    payload, namespace = (OPENSSH / "signed-data").read_bytes(), (OPENSSH / "namespace").read_text()
    signed = Signed(payload=payload, signature=dearmor(text))
    assert open_by_key(signed, namespace=namespace, keys={key.blob}).key == key
    assert armor(signed.signature) == text
    with pytest.raises(AuxilioError) as caught:
        open_by_key(Signed(payload=payload + b"x", signature=signed.signature), namespace=namespace, keys={key.blob})
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize("name", ["rsa", "ecdsa_sk_webauthn"])
def test_keys_of_rsa_and_of_browsers_are_not_accepted(name: str) -> None:
    blob = line_blob((OPENSSH / f"{name}.pub").read_text())
    signed = Signed(
        payload=(OPENSSH / "signed-data").read_bytes(), signature=dearmor((OPENSSH / f"{name}.sig").read_text())
    )
    with pytest.raises(AuxilioError) as caught:
        open_by_key(signed, namespace="unittest", keys={blob})
    assert caught.value.reason in {"unknown_algorithm", "wrong_application"}


@pytest.mark.parametrize("name", ["ed25519_1", "ecdsa_1", "ed25519_sk1", "ecdsa_sk1"])
def test_certificates_of_openssh_s_own_tests_are_read_and_refused_as_host_certificates(name: str) -> None:
    certificate = parse_certificate(line_blob((OPENSSH / f"{name}-cert.pub").read_text()))
    assert certificate.key_id == "julius" and certificate.principals == ("host1", "host2")
    assert fingerprint(certificate.key.blob) == (OPENSSH / f"{name}-cert.fp").read_text().strip()
    verify(certificate.ca, certificate.signature, certificate.tbs)
    rules = CertificateRules(
        cas=frozenset({certificate.ca.blob}), revocations=Revocations(), max_validity_s=2**40, purpose="technician"
    )
    with pytest.raises(AuxilioError) as caught:
        check_certificate(certificate, rules, certificate.valid_after + 1)
    assert caught.value.reason == "host_certificate"


@pytest.mark.parametrize("kind", KINDS)
def test_a_technician_that_ssh_keygen_certified_long_ago_is_still_one(kind: str) -> None:
    ca = line_blob((TECHNICIAN / "ca.pub").read_text())
    rules = CertificateRules(
        cas=frozenset({ca}), revocations=Revocations(), max_validity_s=30 * 86_400, purpose="technician"
    )
    signed = Signed(
        payload=(TECHNICIAN / "payload").read_bytes(),
        signature=dearmor((TECHNICIAN / f"{kind}.sig").read_text()),
    )
    opened = open_by_certificate(signed, namespace=SESSION, rules=rules, now=WITHIN)
    technician = read_technician(opened.certificate)
    assert technician.name == "ana" and technician.rights == {"shell", "files"}
    assert opened.certificate.blob == line_blob((TECHNICIAN / f"{kind}-cert.pub").read_text())
    for now, code in ((BEFORE, "not_yet_valid"), (AFTER, "expired")):
        with pytest.raises(AuxilioError) as caught:
            open_by_certificate(signed, namespace=SESSION, rules=rules, now=now)
        assert caught.value.reason == code


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_parses_into_what_it_is_put_together_from(kind: str) -> None:
    blob = dearmor((TECHNICIAN / f"{kind}.sig").read_text())
    sshsig = parse_sshsig(blob)
    assert (sshsig.namespace, sshsig.hash) == (SESSION, "sha512")
    key = parse_certificate(sshsig.signer).key
    verify(key, sshsig.signature, signed_data(SESSION, (TECHNICIAN / "payload").read_bytes()))
    assert parse_public_key(key.blob) == key


def _wycheproof(name: str) -> list[tuple[str, str, str, str, str]]:
    document = json.loads((VECTORS / "wycheproof" / f"{name}.json").read_text())
    return [
        (group["key"], result, f"{number} {comment}", message, signature)
        for group in document["groups"]
        for number, result, comment, message, signature in group["tests"]
    ]


def _verifies(key: PublicKey, raw: bytes, message: bytes) -> bool:
    try:
        verify(key, string(key.algorithm) + string(raw), message)
    except AuxilioError:
        return False
    return True


def test_ed25519_agrees_with_wycheproof() -> None:
    cases = _wycheproof("ed25519")
    assert len(cases) == 151
    for point, result, what, message, signature in cases:
        key = parse_public_key(string(ED25519) + string(bytes.fromhex(point)))
        assert _verifies(key, bytes.fromhex(signature), bytes.fromhex(message)) == (result == "valid"), what


def test_ecdsa_agrees_with_wycheproof() -> None:
    cases = _wycheproof("ecdsa_p256_sha256")
    assert len(cases) == 262
    for point, result, what, message, signature in cases:
        key = parse_public_key(string(ECDSA) + string("nistp256") + string(bytes.fromhex(point)))
        raw = bytes.fromhex(signature)
        if len(raw) != 64:
            continue  # lengths are SSH's affair, not this encoding's
        r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
        assert _verifies(key, mpint(r) + mpint(s), bytes.fromhex(message)) == (result == "valid"), what
