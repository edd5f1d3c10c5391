"""One HTTP/1.1 connection to a relay: h11 decides what is HTTP, asyncio moves the bytes. Bounded in every direction.

Nothing here knows what a request is for; transport.http does. Errors are those of the network and of h11, which the
caller turns into ours with transport.failures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

import h11

from transport.dial import dial
from transport.relay_address import RelayAddress
from transport.tls import client_context

MAX_HEADER_BYTES = 32 * 1024
"""Of one answer's status line and headers. A relay's have a few hundred; this leaves room for proxies' cookies."""

READ_BYTES = 64 * 1024

MAX_INTERIM = 8
"""Answers 1xx before the real one. A server that sends more is wasting our time."""


class HttpWire:
    """A connection that does one exchange at a time: `send`, `answer`, `body` to its end, again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._until_close = False  # the body being read is one that ends when the relay hangs up

    @classmethod
    async def dial(cls, address: RelayAddress) -> HttpWire:
        """Connect and do the TLS handshake; the caller sets the deadline."""
        reader, writer = await asyncio.open_connection(
            sock=await dial(address),
            ssl=client_context(address.pin),
            server_hostname=address.host,
            limit=READ_BYTES,
        )
        return cls(reader, writer)

    @property
    def reusable(self) -> bool:
        """Another exchange may follow: the last one ended as HTTP wants, and nobody hung up."""
        return (
            self._http.our_state is h11.IDLE
            and self._http.their_state is h11.IDLE
            and not self._reader.at_eof()
            and not self._writer.is_closing()
        )

    async def send(self, method: str, target: str, headers: list[tuple[str, str]], body: Iterable[bytes] = ()) -> None:
        """Send a request. A relay may refuse the body before its end; then the rest is not sent."""
        self._until_close = False
        self._write(h11.Request(method=method, target=target, headers=headers))
        try:
            for chunk in body:
                self._write(h11.Data(data=chunk))
                await self._writer.drain()
            self._write(h11.EndOfMessage())
            await self._writer.drain()
        except ConnectionError:
            # It hung up while we were sending: often after an answer that says why, which is then still to be read.
            self._http.send_failed()

    async def answer(self) -> h11.Response:
        """The status and headers of the final answer; interim ones are skipped."""
        for _ in range(MAX_INTERIM + 1):
            event = await self._next_event()
            if isinstance(event, h11.Response):
                names = {name for name, _ in event.headers}
                self._until_close = not names & {b"content-length", b"transfer-encoding"}
                return event
            if not isinstance(event, h11.InformationalResponse):
                break
        raise h11.RemoteProtocolError("no answer where one was due")

    async def body(self) -> AsyncGenerator[bytes, None]:
        """The answer's body as it arrives. The caller counts the bytes."""
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise h11.RemoteProtocolError("an answer that was cut off")
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()

    def close(self) -> None:
        """Hang up at once: nothing of ours is on its way, and a TLS farewell could take half a minute."""
        self._writer.transport.abort()

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                await self._receive()
            elif event is h11.PAUSED:
                raise h11.RemoteProtocolError("more than the answer that was due")
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("closed before the answer")
            else:
                return event

    async def _receive(self) -> None:
        data = await self._reader.read(READ_BYTES)
        self._http.receive_data(data)
        if not data and not self._until_close:
            # h11 would call it a protocol error; for whoever asks it is a connection that was cut.
            raise ConnectionResetError("cut off in the middle of an answer")
