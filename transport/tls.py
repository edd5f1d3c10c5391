"""TLS to a relay: by pin, or by WebPKI and name. Decides whom we talk to before a byte of ours is sent.

A pinned relay's certificate is checked inside the handshake, by the SSL object itself: a context that only skipped
verification and left the check to whoever dials would send its request, with a bearer token in it, to a stranger
first. The pin is of the public key, so a certificate may be renewed, and its dates do not matter: a device whose
clock battery is dead still reaches its relay.
"""

from __future__ import annotations

import hashlib
import ssl
from functools import lru_cache
from typing import Any

from protocol.errors import Untrusted
from transport.relay_address import PIN_PREFIX

MAX_CERTIFICATE_BYTES = 64 * 1024


class WrongPin(ssl.SSLCertVerificationError):
    """The relay showed another key than the pinned one. An SSLError, since only these leave a handshake cleanly."""

    def __init__(self, seen: str) -> None:
        super().__init__(1, f"its key is {seen}")
        self.verify_code = 0
        self.verify_message = "wrong pin"
        self.seen = seen


def spki_pin(certificate_der: bytes) -> str:
    """The pin of a certificate: "sha256:" and the hex SHA-256 of its SubjectPublicKeyInfo.

    Raises Untrusted if it is no certificate that we can read.
    """
    # Imported here: only a pinned handshake needs X.509, and the modules cost 2 MiB.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if len(certificate_der) > MAX_CERTIFICATE_BYTES:
        raise Untrusted("the relay's certificate is too large", code="bad_certificate")
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise Untrusted("the relay's certificate cannot be read", code="bad_certificate") from exc
    return PIN_PREFIX + hashlib.sha256(spki).hexdigest()


@lru_cache(maxsize=16)
def client_context(pin: str | None) -> ssl.SSLContext:
    """The context for a relay, made once (the system's authorities take 20 ms to load). TLS 1.2 or later.

    With a pin, the context must be used through `wrap_bio` or asyncio's own TLS (which uses it). Whatever drives
    OpenSSL's structures directly would skip the check; transport.websocket therefore switches that off, and
    tests/contract holds it to that.
    """
    context = ssl.create_default_context() if pin is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if pin is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.sslobject_class = _pinned(pin)
        context.sslsocket_class = _Unusable
    return context


def _pinned(pin: str) -> type[ssl.SSLObject]:
    class PinnedSSLObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            certificate = self.getpeercert(binary_form=True)
            try:
                seen = spki_pin(certificate) if certificate else "missing"
            except Untrusted as exc:
                raise WrongPin("unreadable") from exc
            if seen != pin:
                raise WrongPin(seen)

    return PinnedSSLObject


class _Unusable(ssl.SSLSocket):
    """wrap_socket makes one of these; it would not check the pin."""

    @classmethod
    def _create(cls, *args: Any, **kwargs: Any) -> Any:
        raise ssl.SSLError("a pinned context is for asyncio's TLS only")


def untrusted(error: ssl.SSLError, dialled_name: str) -> Untrusted | None:
    """What a failed handshake means, if it means that the relay is not the one we trust."""
    if isinstance(error, WrongPin):
        return Untrusted(
            f"{dialled_name} is not the relay that was pinned ({error})",
            code="wrong_pin",
            hint="Somebody may be in between. If the relay has a new key, get its pin from its operator.",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Untrusted(
            f"{dialled_name} has no certificate that is trusted here: {error.verify_message}",
            code="bad_certificate",
            hint="A relay with a self-signed certificate needs its pin; `auxilio-relay init` prints it.",
        )
    return None
