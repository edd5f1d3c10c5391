"""One request, as a route's handler sees it: who asks, and what was asked, bounded and typed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal, TypeVar

import msgspec
from aiohttp import web

from protocol.codec import MAX_MESSAGE_BYTES, decode
from protocol.errors import BadMessage, Unavailable
from protocol.ids import DeviceId, OrganisationId, SessionId, Sha256
from protocol.ids import parse_device_id as _device
from protocol.ids import parse_organisation_id as _organisation
from protocol.ids import parse_session_id as _session
from protocol.ids import parse_sha256 as _sha256
from relay.failures import TooLarge, blob_not_found, device_not_found, organisation_not_found, session_not_found
from relay.links import Link
from relay.logins import Login
from relay.services import Services

T = TypeVar("T")

BODY_WITHIN_S = 30.0
"""For a small body: 64 KiB over a bad mobile line."""

CHUNK_WITHIN_S = 30.0
"""For the next bytes of a blob, either way."""

MAX_QUERY_CHARS = 6 * 1024
"""A selector of 4 KiB and the rest."""

Who = Literal["stranger", "mailbox", "technician", "bearer"]
"""Who may ask: anybody; a technician, even one whose certificate has expired; a technician; a technician or device."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. path: aiohttp's pattern.  body, answer: their types in JSON; None: none, or not JSON.

    csv: the answer may be asked for as text/csv.  body_limit: bytes.  query: names and what they mean, for the OpenAPI
    document.
    """

    method: str
    path: str
    who: Who
    handler: Callable[[Call], Awaitable[Any]]
    summary: str
    body: Any = None
    body_limit: int = MAX_MESSAGE_BYTES
    answer: Any = None
    csv: bool = False
    query: dict[str, str] = {}


class Call:
    """login: of a technician, link: of a device; at most one of them, as the route's `who` says."""

    def __init__(
        self,
        request: web.Request,
        services: Services,
        route: Route,
        address: str,
        *,
        login: Login | None = None,
        link: Link | None = None,
    ) -> None:
        self.request = request
        self.services = services
        self.route = route
        self.address = address
        self.link = link
        self._login = login

    @property
    def login(self) -> Login:
        """The technician. A route for technicians is not called without one."""
        assert self._login is not None, "the route's `who` lets others in"
        return self._login

    @property
    def is_technician(self) -> bool:
        return self._login is not None

    # -- what the path names: what cannot be an id is answered as what does not exist --------------------------------

    def organisation(self) -> OrganisationId:
        try:
            return _organisation(self.request.match_info["organisation"])
        except BadMessage as exc:
            raise organisation_not_found() from exc

    def device(self) -> DeviceId:
        try:
            return _device(self.request.match_info["device"])
        except BadMessage as exc:
            raise device_not_found() from exc

    def session(self) -> SessionId:
        try:
            return _session(self.request.match_info["session"])
        except BadMessage as exc:
            raise session_not_found() from exc

    def sha256(self) -> Sha256:
        try:
            return _sha256(self.request.match_info["sha256"])
        except BadMessage as exc:
            raise blob_not_found() from exc

    # -- the query and the body -------------------------------------------------------------------------------------

    def query(self, name: str, default: str = "") -> str:
        return self.request.query.get(name, default)

    def query_number(self, name: str, default: int, *, least: int = 0, most: int = 2**53 - 1) -> int:
        text = self.query(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most):
            raise BadMessage(f"{name} is a number from {least} to {most}")
        return int(text)

    async def body(self, type_: type[T]) -> T:
        """The body as `type_`. Raises BadMessage, TooLarge; Unavailable where it does not come."""
        return decode(await read_body(self.request, self.route.body_limit), type_, limit=self.route.body_limit)


async def read_body(request: web.Request, limit: int) -> bytes:
    if request.content_length is not None and request.content_length > limit:
        raise TooLarge(f"a body of {request.content_length} bytes, where {limit} is the most")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"a body of more than {limit} bytes")
    except TimeoutError as exc:
        raise Unavailable("the body of the request did not come in time", code="body_late") from exc
    except web.RequestPayloadError as exc:
        raise BadMessage("the body of the request is broken") from exc
    return bytes(body)


async def read_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """A large body as it comes. Raises Unavailable where nothing comes for CHUNK_WITHIN_S."""
    while True:
        try:
            async with asyncio.timeout(CHUNK_WITHIN_S):
                chunk = await request.content.readany()
        except TimeoutError as exc:
            raise Unavailable("the upload stands still", code="body_late") from exc
        except web.RequestPayloadError as exc:
            raise BadMessage("the body of the request is broken") from exc
        if not chunk:
            return
        yield chunk
