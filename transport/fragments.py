"""WebSocket frames into messages (RFC 6455, section 5.4). Pure; bounded before anything is joined."""

from __future__ import annotations

from protocol.errors import BadMessage

CONTINUATION, TEXT, BINARY = 0, 1, 2

Message = str | bytes


class MessageTooLarge(BadMessage):
    """More than the bound that the connection was given."""


def too_large(limit: int) -> MessageTooLarge:
    return MessageTooLarge(f"a message of more than {limit} bytes")


class Fragments:
    """One connection's messages. limit: bytes of a message."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._begun: bytearray | None = None
        self._is_text = False

    def add(self, kind: int, final: bool, payload: bytes) -> Message | None:
        """Take a data frame; return the message that it completes, if it does. Raises BadMessage."""
        if kind != CONTINUATION:
            if self._begun is not None:
                raise BadMessage("a WebSocket message inside another")
            self._is_text = kind == TEXT
            if not final:
                self._begun = bytearray(payload)
                return None
        else:
            if self._begun is None:
                raise BadMessage("a WebSocket fragment that continues nothing")
            self._begun += payload
            if len(self._begun) > self.limit:
                raise too_large(self.limit)
            if not final:
                return None
            payload, self._begun = bytes(self._begun), None
        return _text(payload) if self._is_text else payload


def _text(payload: bytes) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadMessage("a text message that is no UTF-8") from exc
