"""Types at the door: bytes from outside become a frozen Struct, or one exception.

JSON for everything that crosses a wire or is signed. The length is checked before a byte is parsed.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from protocol.errors import BadMessage

T = TypeVar("T")

MAX_MESSAGE_BYTES = 64 * 1024
"""A link message or an API body. What is larger travels as a blob."""

MAX_DOCUMENT_BYTES = 1024 * 1024
"""A charter, policy or device record: one must fit in the memory of the smallest device with room to spare."""

_encoder = msgspec.json.Encoder(order="deterministic")


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A number, size or instant (Unix seconds) that a stranger names: as large as every JSON reader keeps exact. Larger
ones would make arithmetic fail far from here."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A record in which an unknown field is refused: jobs, session requests, enrolments."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A record in which a field of tomorrow is ignored by yesterday's reader."""


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
"""One per type that is ever decoded: as many as the code names."""


def encode(value: object) -> bytes:
    """Return `value` as JSON with sorted keys, so that equal values are equal bytes."""
    return _encoder.encode(value)


def decode(data: bytes | bytearray | memoryview | str, type_: type[T], *, limit: int = MAX_MESSAGE_BYTES) -> T:
    """Return `data` (JSON) as `type_`.

    limit: bytes (characters, where `data` is text), checked before parsing.
    Raises BadMessage, and nothing else, whatever the bytes are.
    """
    if len(data) > limit:
        raise BadMessage(f"a message of {len(data)} bytes, where {limit} is the most")
    decoder = _decoders.get(type_) or _decoders.setdefault(type_, msgspec.json.Decoder(type_))
    try:
        result: T = decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError) as exc:
        # msgspec raises UnicodeDecodeError and RecursionError on hostile bytes; a lone surrogate in `str` is
        # a UnicodeEncodeError. Catching DecodeError alone would be a remote crash.
        raise BadMessage(f"malformed {getattr(type_, '__name__', 'message')}: {str(exc)[:200]}") from exc
    return result
