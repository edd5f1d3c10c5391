"""From aiohttp to a route's handler and back: limits, who asks, errors as bodies, what is counted.

Every answer with a status of 400 or more is an ErrorBody. What is nobody's expected error is a bug of ours: logged
with its traceback, and answered with one line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from protocol.api import ErrorBody
from protocol.codec import encode
from protocol.errors import AuxilioError
from protocol.text import escape
from relay import logs
from relay.config import client_address
from relay.failures import Forbidden, Quota, TooMany, Unauthorized, status_of
from relay.http.call import MAX_QUERY_CHARS, Call, Route
from relay.links import Link
from relay.logins import Login
from relay.services import Services
from relay.uploads import OffsetDiffers

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FAILED_COST = 5.0
"""A token, ticket or signature that was not good costs an address as much as this many requests."""

CLIENT_LEFT = 499
"""What proxies count it as; nobody is there to read it."""

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}


def handler(route: Route, services: Services) -> Handler:
    """aiohttp's handler for `route`."""
    metrics = services.metrics
    timed = metrics.request_s.labels(route=route.path)

    async def handle(request: web.Request) -> web.StreamResponse:
        started = services.clock.monotonic()
        try:
            answer = await _answer(request, route, services)
        except AuxilioError as exc:
            if isinstance(exc, Quota):
                services.quotas.note(exc)
            answer = error_answer(exc)
        except asyncio.CancelledError:
            raise
        except (ConnectionError, TimeoutError):
            answer = _left(request)
        except Exception as exc:
            logs.bug("request_failed", exc, method=request.method, path=route.path)
            answer = bug_answer()
        if not isinstance(answer, web.WebSocketResponse) and not answer.prepared:
            timed.observe(services.clock.monotonic() - started)
        status = "101" if isinstance(answer, web.WebSocketResponse) else str(answer.status)
        metrics.requests.labels(method=route.method, route=route.path, status=status).inc()
        return answer

    return handle


async def _answer(request: web.Request, route: Route, services: Services) -> web.StreamResponse:
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
    address = client_address(services.config, request.remote or "", forwarded)
    if len(request.query_string) > MAX_QUERY_CHARS:
        raise TooMany("the query is too long", code="query_too_long")
    login, link = await _who(request, route, services, address)
    result = await route.handler(Call(request, services, route, address, login=login, link=link))
    if isinstance(result, web.StreamResponse):
        return result
    if result is None:
        return web.Response(status=204, headers=SECURITY_HEADERS)
    return json_answer(result)


async def _who(
    request: web.Request, route: Route, services: Services, address: str
) -> tuple[Login | None, Link | None]:
    """Who asks, if the route wants to know; a stranger is counted. Raises Unauthorized, Forbidden, TooMany."""
    token = bearer(request)
    if route.who == "stranger":
        count_stranger(services, address)
        return None, None
    if token is None:
        count_stranger(services, address, FAILED_COST)
        raise Unauthorized("this needs a login")
    if route.who == "bearer":
        link = services.links.by_blob_token(token)
        if link is not None:
            return None, link
    if not services.logins.is_known(token):
        refuse_flood(services, address)
    try:
        login = await services.logins.check(token)
    except Unauthorized:
        count_stranger(services, address, FAILED_COST)
        raise
    if login.scope == "mailbox" and route.who != "mailbox":
        raise Forbidden(
            "your certificate has expired: this login opens the mailbox alone",
            code="mailbox_only",
            hint="Ask an admin for `auxilio technician renew`, then log in again.",
        )
    return login, None


def count_stranger(services: Services, address: str, cost: float = 1.0) -> None:
    """Raises TooMany where this address has asked too often."""
    wait_s = services.strangers.take(_key(address), services.clock.monotonic(), cost)
    _raise_if(wait_s)


def refuse_flood(services: Services, address: str) -> None:
    """As count_stranger, for somebody who may turn out to be none."""
    _raise_if(services.strangers.wait_s(_key(address), services.clock.monotonic()))


def _key(address: str) -> str:
    from relay.admission import address_key

    return address_key(address)


def _raise_if(wait_s: float) -> None:
    if wait_s > 0.0:
        raise TooMany(
            "too many requests come from this address",
            retry_after_s=wait_s,
            hint="Wait a little; [limits] in the relay's configuration is for its operator.",
        )


def bearer(request: web.Request) -> str | None:
    """The token in the Authorization header, bounded; None where there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= 256 else None


def json_answer(value: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value), content_type="application/json", headers=SECURITY_HEADERS)


def error_answer(error: AuxilioError) -> web.Response:
    answer = json_answer(
        ErrorBody(code=error.reason, message=escape(error.message), hint=escape(error.hint)), status=status_of(error)
    )
    if isinstance(error, TooMany):
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after_s + 0.5)))
    if isinstance(error, OffsetDiffers):
        answer.headers["Upload-Offset"] = str(error.offset)
    if isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _left(request: web.Request) -> web.Response:
    """The client is gone, or takes nothing, in the middle of an answer: cut, so that no half of one looks whole."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=CLIENT_LEFT)


def bug_answer() -> web.Response:
    body = ErrorBody(
        code="internal",
        message="the relay failed on this request",
        hint="Its log says why; its operator would like to hear about it.",
    )
    return json_answer(body, status=500)


_HTTP_ERRORS = {
    400: ErrorBody(code="bad_request", message="this is no HTTP request that the relay takes"),
    404: ErrorBody(code="not_found", message="there is nothing at this address"),
    405: ErrorBody(code="method_not_allowed", message="this address does not take that method"),
    413: ErrorBody(code="too_large", message="the body is too large"),
    417: ErrorBody(code="bad_request", message="an expectation that the relay does not meet"),
}


@web.middleware
async def errors_of_http(request: web.Request, handler: Handler) -> web.StreamResponse:
    """aiohttp's own refusals (no such route, bad WebSocket handshake) in our form."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        body = _HTTP_ERRORS.get(exc.status, _HTTP_ERRORS[400])
        answer = json_answer(body, status=exc.status if exc.status in _HTTP_ERRORS else 400)
        if "Allow" in exc.headers:
            answer.headers["Allow"] = exc.headers["Allow"]
        return answer


def as_json(value: msgspec.Struct) -> str:
    return encode(value).decode("utf-8")
