"""A small HTTP client for one relay: typed requests, kept-alive connections, deadlines, bounds, errors that help.

It knows nothing of redirects (refused: they would carry a bearer elsewhere), cookies or compression (a compressed
body can be larger than any bound on what is read).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self, TypeVar, overload
from urllib.parse import urlencode

import h11

from protocol.codec import MAX_DOCUMENT_BYTES, decode, encode
from protocol.errors import BadMessage
from transport.failures import MAX_ERROR_BYTES, checked_bearer, network_errors, refused_answer
from transport.http_wire import READ_BYTES, HttpWire
from transport.patience import patiently
from transport.relay_address import RelayAddress

T = TypeVar("T")

TIMEOUT_S = 30.0
"""For a whole request and answer. A satellite link with a bad minute needs 20."""

IDLE_S = 30.0
"""How long an unused connection is kept: less than half of what servers keep theirs, so none dies under a request."""

MAX_CONNECTIONS = 4
"""At once, to one relay. More would only queue at its rate limit."""

_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class RelayClient:
    """Requests to one relay, by one bearer (token of a login or link), or none.

    Not bound to a task: any number may ask at once; at most MAX_CONNECTIONS are served, the others wait.
    """

    def __init__(self, address: RelayAddress, *, bearer: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.address = address
        self.bearer = bearer
        self.timeout_s = timeout_s
        self._idle: list[tuple[HttpWire, float]] = []
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        while self._idle:
            self._idle.pop()[0].close()

    @overload
    async def request(
        self,
        method: str,
        path: str,
        type_: None,
        *,
        body: object = None,
        query: Mapping[str, str | int] | None = None,
        bearer: str | None = None,
        limit: int = MAX_DOCUMENT_BYTES,
        timeout_s: float | None = None,
    ) -> None: ...

    @overload
    async def request(
        self,
        method: str,
        path: str,
        type_: type[T],
        *,
        body: object = None,
        query: Mapping[str, str | int] | None = None,
        bearer: str | None = None,
        limit: int = MAX_DOCUMENT_BYTES,
        timeout_s: float | None = None,
    ) -> T: ...

    async def request(
        self,
        method: str,
        path: str,
        type_: type[T] | None,
        *,
        body: object = None,
        query: Mapping[str, str | int] | None = None,
        bearer: str | None = None,
        limit: int = MAX_DOCUMENT_BYTES,
        timeout_s: float | None = None,
    ) -> T | None:
        """Send `body` (a Struct, as JSON) and return the answer as `type_`; None: the answer's body is ignored.

        path: begins with "/", and is URL-safe.  limit: bytes of the answer.  timeout_s: for all of it.
        Raises RelayUnreachable, Untrusted, Refused, Unavailable or PeerFault (see transport.failures).
        """
        target = f"{path}?{urlencode(query)}" if query else path
        payload = None if body is None else encode(body)
        headers = [] if payload is None else [("Content-Type", "application/json")]
        with network_errors(self.address):
            async with (
                asyncio.timeout(timeout_s or self.timeout_s),
                self.exchange(method, target, headers, payload, bearer=bearer) as answer,
            ):
                content = await answer.read(limit)
        return None if type_ is None else decode(content, type_, limit=limit)

    @contextlib.asynccontextmanager
    async def exchange(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | memoryview | None = None,
        *,
        bearer: str | None = None,
        accept: tuple[int, ...] = (200, 201, 202, 204),
        on_progress: Callable[[], None] | None = None,
    ) -> AsyncIterator[Answer]:
        """One exchange, with the body left to the caller to read. Sets no deadline.

        on_progress: called for each piece of `body` that is about to be sent, READ_BYTES long.
        accept: the statuses that are no error; for others the error body is read and raised as our error.
        Errors of the network leave as they are; callers wrap them in transport.failures.network_errors.
        """
        all_headers = self._headers(headers, body, bearer)
        async with self._places:
            wire, response = await self._first_answer(method, target, all_headers, body, on_progress)
            try:
                answer = Answer(wire, response)
                if response.status_code not in accept:
                    content = await answer.read(MAX_ERROR_BYTES, truncate=True)
                    raise refused_answer(response.status_code, content, answer.headers.items())
                yield answer
            finally:
                self._release(wire)

    async def _first_answer(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        body: bytes | memoryview | None,
        on_progress: Callable[[], None] | None,
    ) -> tuple[HttpWire, h11.Response]:
        """Send over a kept connection, and once more over a new one if that one proves dead and repeating is safe."""
        # A long body is for its sender to repeat, who may go on from the middle.
        repeatable = method in _REPEATABLE and len(body or b"") <= READ_BYTES
        while True:
            kept = self._kept()
            wire = kept if kept is not None else await patiently(self._dial)
            try:
                await wire.send(method, target, headers, _chunks(body, on_progress))
                return wire, await wire.answer()
            except (ConnectionError, EOFError):
                wire.close()
                if kept is None or not repeatable:
                    raise
            except BaseException:
                wire.close()
                raise

    def _headers(
        self, headers: Iterable[tuple[str, str]], body: bytes | memoryview | None, bearer: str | None
    ) -> list[tuple[str, str]]:
        result = [("Host", self.address.dialled_name), ("Accept-Encoding", "identity"), *headers]
        token = bearer or self.bearer
        if token is not None:
            result.append(("Authorization", f"Bearer {checked_bearer(token)}"))
        if body is not None:
            result.append(("Content-Length", str(len(body))))
        return result

    async def _dial(self) -> HttpWire:
        with network_errors(self.address):
            return await HttpWire.dial(self.address)

    def _kept(self) -> HttpWire | None:
        while self._idle:
            wire, since = self._idle.pop()
            if wire.reusable and time.monotonic() - since < IDLE_S:
                return wire
            wire.close()
        return None

    def _release(self, wire: HttpWire) -> None:
        if wire.reusable and len(self._idle) < MAX_CONNECTIONS:
            self._idle.append((wire, time.monotonic()))
        else:
            wire.close()


class Answer:
    """A relay's answer, whose body is still to come. headers: names in lower case; of a repeated one, the last."""

    def __init__(self, wire: HttpWire, response: h11.Response) -> None:
        self._wire = wire
        self.status = response.status_code
        self.headers = {name.decode("ascii"): value.decode("latin-1") for name, value in response.headers}

    def chunks(self) -> AsyncGenerator[bytes, None]:
        return self._wire.body()

    async def read(self, limit: int, *, truncate: bool = False) -> bytes:
        """The whole body, of at most `limit` bytes; a longer one is BadMessage, or cut off if `truncate`."""
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > limit:
                if truncate:
                    break
                raise BadMessage(f"an answer of more than {limit} bytes")
        return bytes(content[:limit])


def _chunks(body: bytes | memoryview | None, on_progress: Callable[[], None] | None) -> Iterator[bytes]:
    view = memoryview(body or b"")
    for start in range(0, len(view), READ_BYTES):
        if on_progress is not None:
            on_progress()
        yield bytes(view[start : start + READ_BYTES])
