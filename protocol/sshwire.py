"""SSH's wire format (RFC 4251 section 5), read with bounds and written; and the base64 of its text forms.

A Reader never copies more than it returns, never reads past its end, and knows one error: BadMessage.
"""

from __future__ import annotations

import base64
import binascii

from protocol.errors import BadMessage

MAX_STRING_BYTES = 64 * 1024
"""The longest string in any key, certificate or signature that we read is far below it."""


class Reader:
    """Reads `data` from its start to its end; every method raises BadMessage where the bytes run out."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise BadMessage("truncated", code="truncated")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "big")

    def string(self, limit: int = MAX_STRING_BYTES) -> bytes:
        """limit: bytes; a longer string is refused before it is read."""
        length = self.u32()
        if length > limit:
            raise BadMessage(f"a string of {length} bytes, where {limit} is the most", code="too_long")
        return self.take(length)

    def text(self, limit: int = 1024) -> str:
        """A string that must be UTF-8 without NUL, at which OpenSSH's C strings would end and ours would not."""
        raw = self.string(limit)
        if 0 in raw:
            raise BadMessage("a text with a NUL in it", code="bad_text")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadMessage("a text that is not UTF-8", code="bad_text") from exc

    def positive_mpint(self, limit: int = 64) -> int:
        """A positive multiple precision integer in its one minimal form (RFC 4251 section 5). limit: bytes."""
        raw = self.string(limit)
        if not raw or raw[0] & 0x80 or (raw[0] == 0 and (len(raw) == 1 or not raw[1] & 0x80)):
            raise BadMessage("an integer that is not positive and minimal", code="bad_integer")
        return int.from_bytes(raw, "big")

    @property
    def remaining(self) -> int:
        return len(self._data) - self._at

    @property
    def position(self) -> int:
        return self._at

    def done(self) -> None:
        """Raises BadMessage where anything is left: bytes that nobody reads are bytes that nobody signed for."""
        if self.remaining:
            raise BadMessage(f"{self.remaining} bytes too many", code="trailing_bytes")


def from_base64(text: str) -> bytes:
    """The bytes of which `text` is the base64, in its one form: Python's own decoder takes padding too many and bits
    that count for nothing. Raises BadMessage (bad_base64).
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise BadMessage("not base64", code="bad_base64") from exc
    if base64.b64encode(data).decode("ascii") != text:
        raise BadMessage("not base64 in its one form", code="bad_base64")
    return data


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def string(value: bytes | str) -> bytes:
    data = value.encode("utf-8") if isinstance(value, str) else value
    return u32(len(data)) + data


def mpint(value: int) -> bytes:
    """A positive integer in its minimal form."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))
