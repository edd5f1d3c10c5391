"""A relay's stream of events, as Server-Sent Events carry it (WHATWG HTML, section 9.2). Bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from urllib.parse import urlencode

import msgspec

from protocol.codec import MAX_MESSAGE_BYTES
from protocol.errors import BadMessage
from transport.failures import network_errors
from transport.http import RelayClient

SILENCE_S = 90.0
"""The relay says something at least every 25 s, if only a comment; after three of these it is gone."""


class ServerEvent(msgspec.Struct, frozen=True):
    """id: to be sent as Last-Event-ID after a cut, or "".  event: its kind.  data: not escaped, not yet parsed."""

    id: str
    event: str
    data: str


class EventParser:
    """Bytes in, events out. Raises BadMessage for an event of more than `limit` bytes or one that is no UTF-8."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._rest = b""
        self._id = ""
        self._kind = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > self._limit:
            raise BadMessage(f"an event of more than {self._limit} bytes")
        return [event for line in lines if (event := self._line(line.removesuffix(b"\r"))) is not None]

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        self._size += len(line)
        if self._size > self._limit:
            raise BadMessage(f"an event of more than {self._limit} bytes")
        try:
            name, _, value = line.decode("utf-8").partition(":")
        except UnicodeDecodeError as exc:
            raise BadMessage("an event that is no UTF-8") from exc
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._kind = value
            case "id" if "\0" not in value:
                self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, kind = self._data, self._kind
        self._data, self._kind, self._size = [], "", 0
        return ServerEvent(self._id, kind or "message", "\n".join(data)) if data else None


async def events(
    client: RelayClient, path: str, *, query: Mapping[str, str | int] | None = None, last_id: str = ""
) -> AsyncGenerator[ServerEvent, None]:
    """The events at `path`, until the relay ends them (then RelayUnreachable) or the caller closes the generator.

    Raises what RelayClient.request does. The caller comes back with the last id, after a Backoff.
    """
    headers = [("Accept", "text/event-stream")]
    if last_id.isascii() and last_id.isprintable() and last_id:
        headers.append(("Last-Event-ID", last_id))
    target = f"{path}?{urlencode(query)}" if query else path
    parser = EventParser()
    with network_errors(client.address):
        async with client.exchange("GET", target, headers) as answer, aclosing(answer.chunks()) as chunks:
            while True:
                # A deadline around each wait alone: the consumer may take its time between two events.
                async with asyncio.timeout(SILENCE_S):
                    chunk = await anext(chunks, b"")
                if not chunk:
                    raise ConnectionResetError("the relay ended the stream of events")
                for event in parser.feed(chunk):
                    yield event
