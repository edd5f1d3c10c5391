"""SSHSIG, OpenSSH's signature format (PROTOCOL.sshsig): its bytes, its armor, and what a key signs.

byte[6]  "SSHSIG"      u32     version, 1       string  public key or certificate
string   namespace     string  reserved, ""     string  hash algorithm    string  signature
"""

from __future__ import annotations

import base64
import hashlib

import msgspec

from protocol.errors import BadMessage
from protocol.sshwire import Reader, from_base64, string, u32

MAGIC = b"SSHSIG"
VERSION = 1
HASHES = {"sha512": hashlib.sha512, "sha256": hashlib.sha256}
DEFAULT_HASH = "sha512"
MAX_SIGNATURE_BYTES = 16 * 1024
"""A certificate, a signature, and a little."""

_BEGIN = "-----BEGIN SSH SIGNATURE-----"
_END = "-----END SSH SIGNATURE-----"
_ARMOR_COLUMNS = 70


class SshSig(msgspec.Struct, frozen=True):
    """signer: public key or certificate blob.  hash: "sha512" or "sha256".  signature: SSH signature blob."""

    signer: bytes
    namespace: str
    hash: str
    signature: bytes


def parse_sshsig(blob: bytes) -> SshSig:
    """Read the whole of `blob`. Raises BadMessage."""
    if len(blob) > MAX_SIGNATURE_BYTES:
        raise BadMessage("a signature that is too long", code="too_long")
    reader = Reader(blob)
    if reader.take(len(MAGIC)) != MAGIC:
        raise BadMessage("not an SSH signature", code="bad_magic")
    if reader.u32() != VERSION:
        raise BadMessage("an SSH signature of an unknown version", code="unknown_version")
    signer, namespace = reader.string(MAX_SIGNATURE_BYTES), reader.text(128)
    if reader.string():
        raise BadMessage("an SSH signature whose reserved field is in use", code="reserved_in_use")
    hash_name, signature = reader.text(64), reader.string(1024)
    reader.done()
    if hash_name not in HASHES:
        raise BadMessage(f"the hash {hash_name[:40]!r} is not accepted", code="unknown_hash")
    return SshSig(signer, namespace, hash_name, signature)


def signed_data(namespace: str, payload: bytes, hash_name: str = DEFAULT_HASH) -> bytes:
    """The bytes that a key signs for `payload` in `namespace`."""
    digest = HASHES[hash_name](payload).digest()
    return MAGIC + string(namespace) + string(b"") + string(hash_name) + string(digest)


def assemble_sshsig(signer: bytes, namespace: str, signature: bytes, hash_name: str = DEFAULT_HASH) -> bytes:
    """The binary SSHSIG. signer: blob of the public key or certificate.  signature: SSH signature blob."""
    return (
        MAGIC + u32(VERSION) + string(signer) + string(namespace) + string(b"") + string(hash_name) + string(signature)
    )


def armor(blob: bytes) -> str:
    """The text that `ssh-keygen -Y sign` writes."""
    body = base64.b64encode(blob).decode("ascii")
    lines = [body[i : i + _ARMOR_COLUMNS] for i in range(0, len(body), _ARMOR_COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def dearmor(text: str) -> bytes:
    """The binary SSHSIG in an armored one. Raises BadMessage."""
    if len(text) > 2 * MAX_SIGNATURE_BYTES:
        raise BadMessage("a signature that is too long", code="too_long")
    lines = [line.strip() for line in text.strip().splitlines()]
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise BadMessage("not an armored SSH signature", code="bad_armor")
    try:
        return from_base64("".join(lines[1:-1]))
    except BadMessage as exc:
        raise BadMessage("an armored SSH signature that is no base64", code="bad_armor") from exc
