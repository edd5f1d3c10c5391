"""OpenSSH user certificates (PROTOCOL.certkeys): read, judged, and put together for a CA to sign.

Strict where OpenSSH is lenient, since each leniency has been somebody's advisory: host certificates, empty
principals, serial 0, unknown options, `forever`, and a CA that is itself a certificate are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from protocol.errors import BadMessage, Untrusted
from protocol.keys import ALGORITHMS, PublicKey, fingerprint, parse_public_key, read_key_fields, verify
from protocol.revocation import Revocations
from protocol.sshwire import Reader, string, u32, u64

Purpose = Literal["technician", "enrolment"]

USER = 1
HOST = 2
FOREVER = 2**64 - 1
MAX_CERTIFICATE_BYTES = 12 * 1024
MAX_PRINCIPALS = 64
MAX_OPTIONS = 64
MAX_OPTION_NAME_BYTES = 128
MAX_EXTENSION_BYTES = 4096
"""The text of one extension: the longest selector fits."""
MAX_SIGNATURE_BYTES = 1024
"""The CA's; those of the algorithms that are accepted take less than 200 bytes."""
CERT_SUFFIX = "-cert-v01@openssh.com"
OPENSSH_SUFFIX = "@openssh.com"

PRINCIPAL = re.compile(r"[A-Za-z0-9._@+\-]{1,64}\Z")
"""No comma (OpenSSH CVE-2026-35414 split on it), no blank, nothing that a log or a file could misread."""

KEY_ID = re.compile(r"[A-Za-z0-9._@+\-]{1,64}\Z")


class Certificate(msgspec.Struct, frozen=True):
    """kind: USER or HOST.  valid_after, valid_before: Unix seconds.  tbs: the bytes that the CA signed.

    critical_options, extensions: name to data as on the wire (itself an SSH string, or empty).
    """

    blob: bytes
    key: PublicKey
    serial: int
    kind: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: Mapping[str, bytes]
    extensions: Mapping[str, bytes]
    ca: PublicKey
    tbs: bytes
    signature: bytes


class CertificateRules(msgspec.Struct, frozen=True):
    """How a certificate is judged. cas: blobs of the plain keys that may issue for `purpose`.

    max_validity_s: seconds between valid_after and valid_before.
    """

    cas: frozenset[bytes]
    revocations: Revocations
    max_validity_s: int
    purpose: Purpose


def is_certificate(blob: bytes) -> bool:
    """True where `blob` calls itself a certificate; whether it is a good one is another question."""
    try:
        return Reader(blob).text(128).endswith(CERT_SUFFIX)
    except BadMessage:
        return False


def certificate_algorithm(algorithm: str) -> str:
    """The certificate type of a key's algorithm: `sk-` names already end in @openssh.com."""
    return algorithm.removesuffix(OPENSSH_SUFFIX) + CERT_SUFFIX


_BY_CERTIFICATE_TYPE = {certificate_algorithm(algorithm): algorithm for algorithm in ALGORITHMS}


def parse_certificate(blob: bytes) -> Certificate:
    """Read the whole of `blob`, and nothing about whom to trust. Raises BadMessage."""
    if len(blob) > MAX_CERTIFICATE_BYTES:
        raise BadMessage("a certificate that is too long", code="too_long")
    reader = Reader(blob)
    kind_name = reader.text(128)
    algorithm = _BY_CERTIFICATE_TYPE.get(kind_name)
    if algorithm is None:
        raise BadMessage(f"not a certificate that is accepted: {kind_name[:60]!r}", code="unknown_algorithm")
    reader.string(256)  # the CA's nonce: against collisions in its hash, nothing to us
    key = read_key_fields(reader, algorithm)
    serial, kind, key_id = reader.u64(), reader.u32(), reader.text(256)
    principals = _read_principals(reader.string())
    valid_after, valid_before = reader.u64(), reader.u64()
    critical = _read_options(reader.string())
    extensions = _read_options(reader.string())
    if reader.string():
        raise BadMessage("a certificate whose reserved field is in use", code="reserved_in_use")
    ca_blob = reader.string(MAX_CERTIFICATE_BYTES)
    if is_certificate(ca_blob):
        # Teleport's CVE-2025-49825: whoever holds any certificate would be a CA.
        raise BadMessage("a certificate whose CA is itself a certificate", code="nested_ca")
    ca = parse_public_key(ca_blob)
    tbs = blob[: reader.position]
    signature = reader.string(MAX_SIGNATURE_BYTES)
    reader.done()
    return Certificate(
        blob, key, serial, kind, key_id, principals, valid_after, valid_before, critical, extensions, ca, tbs, signature
    )


def _read_principals(data: bytes) -> tuple[str, ...]:
    reader = Reader(data)
    principals: list[str] = []
    while reader.remaining:
        principals.append(reader.text(256))
        if len(principals) > MAX_PRINCIPALS:
            raise BadMessage("a certificate with too many principals", code="too_long")
    return tuple(principals)


def _read_options(data: bytes) -> dict[str, bytes]:
    reader = Reader(data)
    options: dict[str, bytes] = {}
    last = ""
    while reader.remaining:
        name, value = reader.text(MAX_OPTION_NAME_BYTES), reader.string()
        if options and name <= last:
            # PROTOCOL.certkeys demands lexical order and each name once; a reader that took the last of two
            # would disagree with one that took the first.
            raise BadMessage("a certificate's options are out of order or named twice", code="bad_options")
        options[name] = value
        last = name
        if len(options) > MAX_OPTIONS:
            raise BadMessage("a certificate with too many options", code="too_long")
    return options


def extension_text(certificate: Certificate, name: str, limit: int = MAX_EXTENSION_BYTES) -> str | None:
    """The text of an extension made by `ssh-keygen -O extension:NAME=TEXT`; None where there is none.

    An extension without data, such as permit-pty, has the empty text.

    Raises Untrusted (bad_extension).
    """
    data = certificate.extensions.get(name)
    if not data:
        return None if data is None else ""
    try:
        reader = Reader(data)
        text = reader.text(limit)
        reader.done()
    except BadMessage as exc:
        raise Untrusted(f"the certificate's extension {name} is malformed", code="bad_extension") from exc
    return text


def check_certificate(
    certificate: Certificate, rules: CertificateRules, now: float, *, long_lived: bool = False
) -> None:
    """Return if `certificate` is a user certificate by the right CA, good at `now` (Unix seconds, UTC).

    long_lived: `now` is when a statement of long life was signed, so a later revocation with `since` spares it.
    Raises Untrusted with code host_certificate, serial_zero, no_principals, bad_principal, bad_key_id,
    unknown_critical_option, wrong_ca, bad_signature, not_yet_valid, expired, too_long_lived, revoked.
    """
    if certificate.kind != USER:
        raise Untrusted("a host certificate signs for nobody", code="host_certificate")
    if certificate.ca.blob not in rules.cas:
        raise Untrusted(f"the certificate's CA is not one for a {rules.purpose}", code="wrong_ca")
    verify(certificate.ca, certificate.signature, certificate.tbs)
    _check_content(certificate)
    _check_validity(certificate, rules.max_validity_s, now)
    if rules.revocations.certificate_revoked(
        ca=fingerprint(certificate.ca.blob),
        serial=certificate.serial,
        key=fingerprint(certificate.key.blob),
        key_id=certificate.key_id,
        signed_at=now if long_lived else None,
    ):
        raise Untrusted(f"the certificate of {certificate.key_id} was revoked", code="revoked")


def _check_content(certificate: Certificate) -> None:
    if certificate.serial == 0:
        raise Untrusted("a certificate without a serial cannot be revoked", code="serial_zero")
    if not certificate.principals:
        raise Untrusted("a certificate without principals would be good for every account", code="no_principals")
    if not all(PRINCIPAL.match(principal) for principal in certificate.principals):
        raise Untrusted("a principal with characters that are not allowed", code="bad_principal")
    if not KEY_ID.match(certificate.key_id):
        raise Untrusted("a key id with characters that are not allowed", code="bad_key_id")
    if certificate.critical_options:
        name = next(iter(certificate.critical_options))
        raise Untrusted(f"the critical option {name[:40]!r} is not known here", code="unknown_critical_option")


def _check_validity(certificate: Certificate, max_validity_s: int, now: float) -> None:
    if not now >= certificate.valid_after:  # so written that a time that is no number is refused too
        raise Untrusted("the certificate is not valid yet", code="not_yet_valid", hint="Compare the clocks.")
    if not now < certificate.valid_before:
        raise Untrusted(
            "the certificate has expired",
            code="expired",
            hint="`auxilio technician renew` makes a new one; `auxilio login` fetches it.",
        )
    # `forever` is refused by name: a policy whose longest life is a slip of the pen must not allow it.
    if certificate.valid_before == FOREVER or certificate.valid_before - certificate.valid_after > max_validity_s:
        raise Untrusted("the certificate is valid for longer than the policy allows", code="too_long_lived")


def certificate_to_sign(
    key: PublicKey,
    ca: PublicKey,
    *,
    entropy: bytes,
    serial: int,
    key_id: str,
    principals: tuple[str, ...],
    valid_after: int,
    valid_before: int,
    extensions: Mapping[str, str],
) -> bytes:
    """The bytes that a CA signs to issue a user certificate to `key`.

    entropy: 32 bytes.  extensions: name to text; "" for a flag such as permit-pty.
    Raises BadMessage where no verifier of ours would accept it.
    """
    if not 1 <= serial < 2**64 or len(entropy) != 32 or not 0 <= valid_after < valid_before < FOREVER:
        raise BadMessage("a certificate needs a serial, 32 bytes of entropy and a bounded life")
    if not principals or not all(PRINCIPAL.match(p) for p in principals) or len(principals) > MAX_PRINCIPALS:
        raise BadMessage("a certificate needs principals of letters, digits and . _ @ + -", code="bad_principal")
    if not KEY_ID.match(key_id):
        raise BadMessage("a name is of letters, digits and . _ @ + -, at most 64", code="bad_key_id")
    _check_extensions_to_sign(extensions)
    algorithm = certificate_algorithm(key.algorithm)
    fields = key.blob[len(string(key.algorithm)) :]
    options = b"".join(
        string(name) + string(string(value) if value else b"") for name, value in sorted(extensions.items())
    )
    tbs = b"".join(
        (
            string(algorithm) + string(entropy) + fields,
            u64(serial) + u32(USER) + string(key_id),
            string(b"".join(string(p) for p in principals)),
            u64(valid_after) + u64(valid_before),
            string(b"") + string(options) + string(b""),
            string(ca.blob),
        )
    )
    if len(tbs) + 4 + MAX_SIGNATURE_BYTES > MAX_CERTIFICATE_BYTES:
        raise BadMessage("a certificate that is too long: fewer principals or a shorter scope", code="too_long")
    return tbs


def _check_extensions_to_sign(extensions: Mapping[str, str]) -> None:
    if len(extensions) > MAX_OPTIONS:
        raise BadMessage("a certificate with too many extensions", code="too_long")
    for name, value in extensions.items():
        if not 0 < len(name.encode("utf-8")) <= MAX_OPTION_NAME_BYTES or "\0" in name + value:
            raise BadMessage("a certificate's extension that no verifier would read", code="bad_extension")
        if len(value.encode("utf-8")) > MAX_EXTENSION_BYTES:
            raise BadMessage(f"the certificate's extension {name[:40]!r} is too long", code="too_long")


def assemble_certificate(tbs: bytes, signature: bytes) -> bytes:
    """The certificate from what was signed and the CA's SSH signature blob over it."""
    return tbs + string(signature)
