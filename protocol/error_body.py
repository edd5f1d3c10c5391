"""How an error crosses HTTP. Apart from the REST's other records, since whoever is refused needs nothing of them."""

from __future__ import annotations

from protocol.codec import Record


class ErrorBody(Record, frozen=True, kw_only=True):
    """The body of every answer with a status of 400 or more. code: stable; message: one line; hint: what to do."""

    code: str
    message: str
    hint: str = ""
