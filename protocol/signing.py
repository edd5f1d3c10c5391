"""Signing with keys in memory, and issuing certificates. Pure but for the randomness inside ECDSA, which is OpenSSL's.

Keys in ssh-agent or on a security key are the console's; they meet this module at RawSigner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from protocol.certificate import assemble_certificate, certificate_to_sign
from protocol.errors import ConfigInvalid
from protocol.keys import ECDSA, ED25519, PublicKey, line_blob, parse_public_key, verify
from protocol.sshsig import assemble_sshsig, signed_data
from protocol.sshwire import mpint, string

_KEY_HINT = "`ssh-keygen -t ed25519` makes one that fits; keys on security keys are used through ssh-agent."

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class RawSigner(Protocol):
    """A key that signs bytes as SSH does."""

    @property
    def public(self) -> bytes:
        """Blob of the plain public key."""

    def sign_raw(self, data: bytes) -> bytes:
        """Return the SSH signature blob over `data`."""


class KeyRawSigner:
    """A private key in memory."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public = public_blob(key)

    def sign_raw(self, data: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return string(ED25519) + string(self._key.sign(data))
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return string(ECDSA) + string(mpint(r) + mpint(s))


class SshsigSigner:
    """Signs statements with a RawSigner. certificate: the blob that statements carry instead of the plain key."""

    def __init__(self, raw: RawSigner, certificate: bytes | None = None) -> None:
        self._raw = raw
        self.public = certificate or raw.public

    def sign(self, namespace: str, payload: bytes) -> bytes:
        signature = self._raw.sign_raw(signed_data(namespace, payload))
        return assemble_sshsig(self.public, namespace, signature)


class KeySigner(SshsigSigner):
    """Signs statements with a private key in memory."""

    def __init__(self, key: PrivateKey, certificate: bytes | None = None) -> None:
        super().__init__(KeyRawSigner(key), certificate)


def public_blob(key: PrivateKey) -> bytes:
    """The plain public key of `key` in SSH wire format."""
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return line_blob(line.decode("ascii"))


def load_private_key(pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """The key in an OpenSSH PEM file. A passphrase that the file does not need is ignored.

    Raises ConfigInvalid with code passphrase_needed, bad_passphrase, bad_key.
    """
    try:
        key = _load_openssh(pem, passphrase)
    except ValueError as exc:
        if passphrase:
            raise ConfigInvalid(
                "the passphrase is wrong, or the key is damaged",
                code="bad_passphrase",
                hint="Try again; `ssh-keygen -y -f FILE` asks for it too.",
            ) from exc
        raise ConfigInvalid("not an OpenSSH private key", code="bad_key", hint=_KEY_HINT) from exc
    except UnsupportedAlgorithm as exc:  # also what an `sk-` key's file is: it holds a handle, no key
        raise ConfigInvalid("a private key of a kind that is not accepted", code="bad_key", hint=_KEY_HINT) from exc
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ConfigInvalid("a private key is Ed25519 or ECDSA P-256", code="bad_key", hint=_KEY_HINT)


def _load_openssh(pem: bytes, passphrase: bytes | None) -> serialization.SSHPrivateKeyTypes:
    """cryptography raises TypeError where a passphrase is missing, and also where one is given without need."""
    try:
        return serialization.load_ssh_private_key(pem, password=passphrase or None)
    except TypeError as exc:
        if not passphrase:
            raise ConfigInvalid(
                "the private key is protected by a passphrase", code="passphrase_needed", hint="Give the passphrase."
            ) from exc
    return serialization.load_ssh_private_key(pem, password=None)


def private_key_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """`key` as an OpenSSH PEM file, encrypted where a passphrase is given."""
    how: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, how)


def issue_certificate(
    ca: RawSigner,
    key: PublicKey,
    *,
    entropy: bytes,
    serial: int,
    key_id: str,
    principals: tuple[str, ...],
    valid_after: int,
    valid_before: int,
    extensions: Mapping[str, str],
) -> bytes:
    """Return a user certificate for `key`, signed by `ca`. Arguments as certificate_to_sign, which raises BadMessage.

    What the CA answered is verified: an ssh-agent may hold another key than its list says. Raises Untrusted then.
    """
    issuer = parse_public_key(ca.public)
    tbs = certificate_to_sign(
        key,
        issuer,
        entropy=entropy,
        serial=serial,
        key_id=key_id,
        principals=principals,
        valid_after=valid_after,
        valid_before=valid_before,
        extensions=extensions,
    )
    signature = ca.sign_raw(tbs)
    verify(issuer, signature, tbs)
    return assemble_certificate(tbs, signature)
