"""The relay's TLS certificate: made here, or given. Agents and consoles pin its key (protocol/policy.py, Relay.pin)."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.errors import ConfigInvalid

SELF_SIGNED_DAYS = 3650
"""Whoever pins the key does not look at dates; ten years is when the machine has long been replaced."""


class CertificateFacts(msgspec.Struct, frozen=True):
    """pin: "sha256:" and hex of the SubjectPublicKeyInfo's SHA-256.  names: DNS names and addresses it is for."""

    pin: str
    not_before: int
    not_after: int
    names: frozenset[str]
    is_self_signed: bool

    def is_valid_at(self, now: float) -> bool:
        """now: Unix seconds."""
        return self.not_before <= now < self.not_after


def make_self_signed(names: list[str], now: float) -> tuple[bytes, bytes]:
    """A certificate and its new P-256 key, PEM. names: hosts (DNS names or addresses).  now: Unix seconds."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The common name has a bound of 64 characters in X.509; clients look at the alternative names alone.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    start = datetime.datetime.fromtimestamp(now, datetime.UTC) - datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def read_certificate(path: Path) -> CertificateFacts:
    """Of the first certificate in a PEM file. Raises ConfigInvalid."""
    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as exc:
        raise ConfigInvalid(f"cannot read the certificate {path}: {exc.strerror}") from exc
    except (ValueError, IndexError) as exc:
        raise ConfigInvalid(f"{path} is no PEM certificate", hint="Give the certificate and its chain.") from exc
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return CertificateFacts(
        pin="sha256:" + hashlib.sha256(spki).hexdigest(),
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        names=_alternative_names(certificate),
        is_self_signed=certificate.subject == certificate.issuer,
    )


def _alternative_names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    dns = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return frozenset(dns | {str(address) for address in names.get_values_for_type(x509.IPAddress)})


def is_for(facts: CertificateFacts, host: str) -> bool:
    """Whether the certificate names `host`, a wildcard of its first label included."""
    host = host.strip("[]").lower()
    return host in facts.names or "*." + host.partition(".")[2] in facts.names


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and up. Raises ConfigInvalid where the two files are no pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Tickets of TLS 1.3 cost each new connection two more signatures' worth of bytes, and links do not resume.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except FileNotFoundError as exc:
        raise ConfigInvalid(
            f"there is no certificate or key at {certificate}, {key}", hint="[server] certificate and key name them."
        ) from exc
    except (ssl.SSLError, OSError) as exc:
        raise ConfigInvalid(
            f"{certificate} and {key} are no certificate with its key",
            hint="Both are PEM; the key is without a passphrase, readable by the relay's user.",
        ) from exc
    return context


def _no_passphrase() -> bytes:
    """OpenSSL would ask on the terminal; a service has none."""
    return b""
