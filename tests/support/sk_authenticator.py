"""A software authenticator: makes `sk-` keys and signs with them as a FIDO device would (PROTOCOL.u2f).

It stands in for hardware that a test machine has not got. What it makes is cross-checked by `ssh-keygen -Y verify`.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from protocol.keys import SK_ECDSA, SK_ED25519, SK_USER_PRESENT
from protocol.sshwire import mpint, string, u32


class SkAuthenticator:
    """One resident key. flags and counter are what the device would report; application is what it was made for."""

    def __init__(
        self, algorithm: str, *, application: str = "ssh:", flags: int = SK_USER_PRESENT, seed: int = 7
    ) -> None:
        self.algorithm = algorithm
        self.application = application
        self.flags = flags
        self.counter = 41
        self._key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
        if algorithm == SK_ED25519:
            self._key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
            point = self._key.public_key().public_bytes_raw()
            fields = string(point)
        elif algorithm == SK_ECDSA:
            self._key = ec.derive_private_key(seed + 10**40, ec.SECP256R1())
            encoding = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            fields = string("nistp256") + string(self._key.public_key().public_bytes(*encoding))
        else:
            raise ValueError(algorithm)
        self.public = string(algorithm) + fields + string(application)

    def sign_raw(self, data: bytes) -> bytes:
        """The SSH signature blob: algorithm, signature, flags, counter."""
        self.counter += 1
        tail = bytes([self.flags]) + u32(self.counter)
        message = hashlib.sha256(self.application.encode()).digest() + tail + hashlib.sha256(data).digest()
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            raw = self._key.sign(message)
        else:
            r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
            raw = mpint(r) + mpint(s)
        return string(self.algorithm) + string(raw) + tail
