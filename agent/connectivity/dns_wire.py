"""One question to a name server, and what its answer says. Pure. Source: RFC 1035 section 4, RFC 3596 (AAAA).

Our own, because the question is what *this* server says, not what a resolver library makes of it, and because a
library that does so brings ten thousand lines for the forty that are needed.
"""

from __future__ import annotations

import ipaddress
import struct

import msgspec

from protocol.errors import BadMessage

A, AAAA = 1, 28
IN = 1
MAX_ANSWER_BYTES = 4096
MAX_RECORDS = 64
MAX_NAME_CHARS = 253

NO_ERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_POINTER = 0xC0


class Answer(msgspec.Struct, frozen=True):
    """rcode: of RFC 1035 4.1.1.  addresses: of the records of the type that was asked, at most MAX_RECORDS.
    truncated: there is more, over TCP."""

    rcode: int
    addresses: tuple[str, ...]
    truncated: bool


def question(name: str, kind: int, ident: int) -> bytes:
    """A query for `name`, recursion desired. name: ASCII, without its last dot.  ident: 0 to 65535, random.

    Raises ValueError for what is no name of DNS.
    """
    labels = name.encode("ascii").split(b".")
    if len(name) > MAX_NAME_CHARS or not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"not a name of DNS: {name[:80]!r}")
    encoded = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(ident, 0x0100, 1, 0, 0, 0) + encoded + struct.pack("!HH", kind, IN)


def read_answer(data: bytes, kind: int, ident: int) -> Answer:
    """Raises BadMessage for what is no answer to the question with this `ident`, whatever it is."""
    if len(data) < _HEADER.size or len(data) > MAX_ANSWER_BYTES:
        raise BadMessage("not a DNS message by its size")
    got, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if got != ident or not flags & 0x8000 or questions > 1:
        raise BadMessage("not an answer to what was asked")
    at = _HEADER.size
    for _ in range(questions):
        at = _after_name(data, at) + 4
    addresses: list[str] = []
    for _ in range(min(answers, MAX_RECORDS)):
        at = _after_name(data, at)
        if at + _RECORD.size > len(data):
            raise BadMessage("a DNS record is cut off")
        record_kind, record_class, _, size = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        value = data[at : at + size]
        if len(value) != size:
            raise BadMessage("a DNS record is cut off")
        at += size
        if record_kind == kind and record_class == IN and size == (4 if kind == A else 16):
            addresses.append(str(ipaddress.ip_address(value)))
    return Answer(flags & 0xF, tuple(addresses), bool(flags & 0x0200))


def _after_name(data: bytes, at: int) -> int:
    """Where the name at `at` ends. A pointer ends it, so nothing can go round in circles."""
    while at < len(data):
        length = data[at]
        if length & _POINTER == _POINTER:
            return at + 2
        if length & _POINTER:
            raise BadMessage("a DNS label of an unknown kind")
        if not length:
            return at + 1
        at += 1 + length
    raise BadMessage("a DNS name is cut off")
