"""Statements: bytes and an SSHSIG over them, one namespace a purpose. Verify first, then parse what verified.

Nothing in Auxilio that matters is believed for any other reason than a statement that one of the two `open_`
functions returned. They are strict, and their own: asyncssh's check takes host certificates and empty principals.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from protocol.certificate import (
    Certificate,
    CertificateRules,
    Purpose,
    check_certificate,
    is_certificate,
    parse_certificate,
)
from protocol.codec import MAX_DOCUMENT_BYTES, Strict
from protocol.errors import BadMessage, Untrusted
from protocol.keys import PublicKey, parse_public_key, verify
from protocol.sshsig import SshSig, parse_sshsig, signed_data

__all__ = [
    "CHARTER",
    "DEVICE",
    "ENROL",
    "JOB",
    "LINK",
    "LOGIN",
    "POLICY",
    "RELEASE",
    "REPORT",
    "SESSION",
    "WAVE",
    "CertificateRules",
    "Opened",
    "OpenedByCertificate",
    "Purpose",
    "Signed",
    "Signer",
    "open_by_certificate",
    "open_by_key",
    "seal_statement",
]

CHARTER = "charter@auxilio"
POLICY = "policy@auxilio"
LOGIN = "login@auxilio"
LINK = "link@auxilio"
ENROL = "enrol@auxilio"
DEVICE = "device@auxilio"
REPORT = "report@auxilio"
SESSION = "session@auxilio"
JOB = "job@auxilio"
WAVE = "wave@auxilio"
RELEASE = "release@auxilio"


class Signed(Strict, frozen=True, kw_only=True):
    """payload: the bytes as they were signed.  signature: binary SSHSIG. Both are base64 in JSON."""

    payload: bytes
    signature: bytes


class Opened(msgspec.Struct, frozen=True):
    """A statement by a plain key that was asked for."""

    payload: bytes
    key: PublicKey


class OpenedByCertificate(msgspec.Struct, frozen=True):
    """A statement by a certified key whose certificate was good at the instant asked for."""

    payload: bytes
    key: PublicKey
    certificate: Certificate


class Signer(Protocol):
    """Whatever can sign statements: a key in memory, in ssh-agent, on a security key."""

    @property
    def public(self) -> bytes:
        """Blob of the public key, or of the certificate that statements carry."""

    def sign(self, namespace: str, payload: bytes) -> bytes:
        """Return the binary SSHSIG. May block: for a passphrase, a touch."""


def seal_statement(signer: Signer, namespace: str, payload: bytes) -> Signed:
    return Signed(payload=payload, signature=signer.sign(namespace, payload))


def open_by_key(signed: Signed, *, namespace: str, keys: Collection[bytes], limit: int = MAX_DOCUMENT_BYTES) -> Opened:
    """Return what one of `keys` (plain public key blobs) signed in `namespace`.

    limit: bytes of payload.  Raises Untrusted (wrong_namespace, certificate_not_due, unknown_signer, bad_signature,
    no_user_presence, ...) or BadMessage.
    """
    sshsig = _parse(signed, namespace, limit)
    if is_certificate(sshsig.signer):
        raise Untrusted("a certificate signed where a plain key is due", code="certificate_not_due")
    key = parse_public_key(sshsig.signer)
    if key.blob not in keys:
        raise Untrusted("the signature is by a key that may not sign this", code="unknown_signer")
    _verify(key, sshsig, signed.payload)
    return Opened(signed.payload, key)


def open_by_certificate(
    signed: Signed,
    *,
    namespace: str,
    rules: CertificateRules,
    now: float,
    limit: int = MAX_DOCUMENT_BYTES,
    long_lived: bool = False,
) -> OpenedByCertificate:
    """Return what a certified key signed in `namespace`, its certificate being good under `rules` at `now`.

    A signature covers the payload, not the certificate beside it: whoever passes a statement on may put another
    certificate of the same key there, and it counts if it is good. So a technician's rights are narrowed by revoking
    the wider certificate's serial, not by issuing a narrower one.
    long_lived: as in check_certificate.  Raises Untrusted (wrong_namespace, certificate_due, and those of
    check_certificate and keys.verify) or BadMessage.
    """
    sshsig = _parse(signed, namespace, limit)
    if not is_certificate(sshsig.signer):
        raise Untrusted("a plain key signed where a certificate is due", code="certificate_due")
    certificate = parse_certificate(sshsig.signer)
    check_certificate(certificate, rules, now, long_lived=long_lived)
    _verify(certificate.key, sshsig, signed.payload)
    return OpenedByCertificate(signed.payload, certificate.key, certificate)


def _parse(signed: Signed, namespace: str, limit: int) -> SshSig:
    if len(signed.payload) > limit:
        raise BadMessage(f"a statement of {len(signed.payload)} bytes, where {limit} is the most", code="too_long")
    sshsig = parse_sshsig(signed.signature)
    if sshsig.namespace != namespace:
        raise Untrusted(f"a signature for {sshsig.namespace[:40]!r} where {namespace!r} is due", code="wrong_namespace")
    return sshsig


def _verify(key: PublicKey, sshsig: SshSig, payload: bytes) -> None:
    verify(key, sshsig.signature, signed_data(sshsig.namespace, payload, sshsig.hash))
