"""Public keys in OpenSSH's formats, and signatures by them: what we accept, and nothing else.

Ed25519 (RFC 8709), ECDSA P-256 (RFC 5656) and the FIDO forms of both (OpenSSH's PROTOCOL.u2f). cryptography verifies
the primitives; the formats around them are read here, since its own reader knows no `sk-` keys.
"""

from __future__ import annotations

import base64
import hashlib

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from protocol.errors import BadMessage, Untrusted
from protocol.sshwire import Reader, from_base64, string, u32

ED25519 = "ssh-ed25519"
ECDSA = "ecdsa-sha2-nistp256"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
ALGORITHMS = frozenset({ED25519, ECDSA, SK_ED25519, SK_ECDSA})

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
MAX_KEY_BYTES = 1024
MAX_LINE_CHARS = 20 * 1024
"""The longest certificate that is read (12 KiB) in base64, its algorithm's name and a comment."""

_ED25519_PRIME = 2**255 - 19
_ED25519_WEAK_Y = frozenset(
    {
        0,
        1,
        _ED25519_PRIME - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)
"""y of the eight points of small order: under such a "key" anybody's fixed signature verifies for any bytes at all.
OpenSSL accepts them, and so does OpenSSH. Source: libsodium's ge25519_has_small_order."""

SK_USER_PRESENT = 0x01
SK_APPLICATION_PREFIX = "ssh:"


class PublicKey(msgspec.Struct, frozen=True):
    """blob: SSH wire format.  point: 32 bytes of Ed25519, or 65 of an uncompressed P-256 point.

    application: of an `sk-` key ("ssh:" or "ssh:..."); "" otherwise.
    """

    blob: bytes
    algorithm: str
    point: bytes
    application: str = ""

    @property
    def line(self) -> str:
        """As a public line without comment."""
        return public_line(self.blob)


def public_line(blob: bytes) -> str:
    """`blob`, a public key or certificate, as OpenSSH writes it: its algorithm and base64."""
    return f"{Reader(blob).text(128)} {base64.b64encode(blob).decode('ascii')}"


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` prints it: SHA256:..."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def line_blob(line: str) -> bytes:
    """The blob in a line "algorithm base64 [comment]", whose algorithm is the blob's own. Raises BadMessage."""
    if len(line) > MAX_LINE_CHARS:
        raise BadMessage("a public key's line is too long", code="too_long")
    words = line.split(None, 2)
    if len(words) < 2 or len(line.strip().splitlines()) != 1:
        raise BadMessage("not a public key", code="bad_key", hint="It looks like: ssh-ed25519 AAAA... comment")
    try:
        blob = from_base64(words[1])
    except BadMessage as exc:
        raise BadMessage("a public key that is no base64", code="bad_key") from exc
    if Reader(blob).text(128) != words[0]:
        raise BadMessage("a public key of another kind than its line says", code="bad_key")
    return blob


def parse_public_line(line: str) -> PublicKey:
    """Raises BadMessage, also for a certificate: where a key is due, a certificate is none."""
    return parse_public_key(line_blob(line))


def parse_public_key(blob: bytes) -> PublicKey:
    """Read the whole of `blob` as a plain key. Raises BadMessage with code unknown_algorithm, bad_key, ..."""
    if len(blob) > MAX_KEY_BYTES:
        raise BadMessage("a public key that is too long", code="too_long")
    reader = Reader(blob)
    algorithm = reader.text(128)
    key = read_key_fields(reader, algorithm, blob)
    reader.done()
    return key


def read_key_fields(reader: Reader, algorithm: str, blob: bytes | None = None) -> PublicKey:
    """Read what follows the algorithm's name, in a key or inside a certificate. blob: the plain key's, if known."""
    if algorithm not in ALGORITHMS:
        raise BadMessage(f"keys of the kind {algorithm[:60]!r} are not accepted", code="unknown_algorithm")
    if algorithm in (ED25519, SK_ED25519):
        point = reader.string(64)
        _check_ed25519(point)
        fields = string(point)
    else:
        curve, point = reader.text(64), reader.string(256)
        if curve != "nistp256":
            raise BadMessage("an ECDSA key that is not on P-256", code="bad_key")
        _load_p256(point)
        fields = string(curve) + string(point)
    application = ""
    if algorithm in (SK_ED25519, SK_ECDSA):
        application = reader.text(256)
        if not application.startswith(SK_APPLICATION_PREFIX):
            raise BadMessage("a security key made for another application than SSH", code="wrong_application")
        fields += string(application)
    return PublicKey(blob or string(algorithm) + fields, algorithm, point, application)


def _check_ed25519(point: bytes) -> None:
    if len(point) != 32:
        raise BadMessage("an Ed25519 key has 32 bytes", code="bad_key")
    y = int.from_bytes(point, "little") & (2**255 - 1)  # the highest bit is the sign of x
    if y >= _ED25519_PRIME:
        raise BadMessage("an Ed25519 key that is not in its one canonical form", code="bad_key")
    if y in _ED25519_WEAK_Y:
        raise BadMessage("an Ed25519 key for which anybody can sign", code="weak_key")


def _load_p256(point: bytes) -> ec.EllipticCurvePublicKey:
    if len(point) != 65 or point[0] != 4:
        raise BadMessage("a P-256 key that is no uncompressed point", code="bad_key")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError as exc:
        raise BadMessage("a P-256 key that is not on the curve", code="bad_key") from exc


def verify(key: PublicKey, signature: bytes, data: bytes) -> None:
    """Return if `signature` (an SSH signature blob) is `key`'s over `data`.

    For an `sk-` key also: made with the user present, for the key's own application; a certificate's
    no-touch-required changes nothing.  An ECDSA signature (r, s) has a valid twin (r, n - s), which OpenSSH makes as
    often: what must be told apart is named by its payload, never by its signature.
    Raises Untrusted (bad_signature, wrong_algorithm, no_user_presence) or BadMessage for its shape.
    """
    reader = Reader(signature)
    algorithm = reader.text(128)
    if algorithm != key.algorithm:
        raise Untrusted("the signature's algorithm is not the key's", code="wrong_algorithm")
    raw = reader.string(512)
    if key.application:
        flags, counter = reader.u8(), reader.u32()
        if not flags & SK_USER_PRESENT:
            raise Untrusted("the security key was not touched", code="no_user_presence")
        application = hashlib.sha256(key.application.encode("utf-8")).digest()
        data = application + bytes([flags]) + u32(counter) + hashlib.sha256(data).digest()
    reader.done()
    try:
        if key.algorithm in (ED25519, SK_ED25519):
            ed25519.Ed25519PublicKey.from_public_bytes(key.point).verify(raw, data)
        else:
            _load_p256(key.point).verify(_dss(raw), data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError) as exc:
        raise Untrusted("the signature does not verify", code="bad_signature") from exc


def _dss(raw: bytes) -> bytes:
    reader = Reader(raw)
    r, s = reader.positive_mpint(), reader.positive_mpint()
    reader.done()
    if not (0 < r < P256_ORDER and 0 < s < P256_ORDER):
        raise BadMessage("an ECDSA signature out of range", code="bad_integer")
    return encode_dss_signature(r, s)
