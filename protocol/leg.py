"""What the relay says on a leg before its two ends are joined.

A leg is a WebSocket. Text messages come from the relay and are for the end that reads them; binary messages come
from the far end, carry `protocol.stream` frames and are not the relay's business. The relay sends no text after
Spliced. Since the relay is not trusted, nothing here authorises anything: the worst it can do is to refuse.
"""

from __future__ import annotations

from protocol.codec import Count, Record, decode

MAX_LEG_MESSAGE_BYTES = 256 * 1024
"""A binary message on a leg: a stream frame of at most 128 KiB of data and its header, with room for tomorrow."""

MAX_LEG_TEXT_BYTES = 4 * 1024


class Waiting(Record, frozen=True, kw_only=True, tag="waiting"):
    """The device asks the customer. until_at: Unix seconds; after it, no answer is a no."""

    until_at: Count


class Refused(Record, frozen=True, kw_only=True, tag="refused"):
    """No session: in the words of whoever said no (a device or the relay)."""

    code: str
    message: str
    hint: str = ""


class Spliced(Record, frozen=True, kw_only=True, tag="spliced"):
    """The other leg is here; from now on every message is from and to the far end."""


LegText = Waiting | Refused | Spliced


def decode_leg_text(text: str | bytes) -> LegText:
    """Raises BadMessage; an unknown type is one too, since a leg's relay has nothing else to say."""
    return decode(text, LegText, limit=MAX_LEG_TEXT_BYTES)  # type: ignore[arg-type]  # a union is no class
