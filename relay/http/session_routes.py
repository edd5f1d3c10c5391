"""Sessions, legs, links and events: what lasts longer than a request."""

from __future__ import annotations

import asyncio

from aiohttp import web
from sqlalchemy import Connection

from protocol.api import Event, Session, Sessions
from protocol.codec import encode
from protocol.errors import BadMessage, Refused
from protocol.ids import parse_device_id
from protocol.selector import All
from relay.admission import address_key
from relay.events import Numbered, Overrun
from relay.failures import Busy, Unauthorized
from relay.http.call import Call, Route
from relay.http.serving import FAILED_COST, SECURITY_HEADERS, bearer, count_stranger
from relay.logins import Login
from relay.session_access import list_sessions
from relay.splice import Leg, make_socket
from relay.store import devices, listing

MAX_SESSIONS_LISTED = 500
EVENT_SILENCE_S = 20.0
"""A comment at least this often keeps proxies from closing the stream, and lets the login be judged again."""

EVENT_SEND_WITHIN_S = 30.0


async def find_session(call: Call) -> Session:
    return await call.services.sessions.find(call.login, call.session())


async def all_sessions(call: Call) -> Sessions:
    device = parse_device_id(call.query("device")) if call.query("device") else None
    before = call.query_number("before", 0)
    found = await list_sessions(
        call.services.store,
        call.login,
        device=device,
        live=call.query("state") == "live",
        before=before or None,
        limit=call.query_number("limit", 100, least=1, most=MAX_SESSIONS_LISTED),
    )
    return Sessions(sessions=tuple(call.services.sessions.fresh(call.login.organisation, session) for session in found))


async def end_session(call: Call) -> Session:
    return await call.services.sessions.withdraw(call.login, call.session())


# -- WebSockets -----------------------------------------------------------------------------------------------------


async def link(call: Call) -> web.StreamResponse:
    _check_upgrade(call)
    greeting, key = call.services.greeting, address_key(call.address)
    if not greeting.enter(key):
        raise Busy("too many agents say hello at this moment", retry_after_s=5.0)
    return await call.services.link_driver.serve(call.request, call.address, lambda: greeting.leave(key))


async def leg(call: Call) -> web.StreamResponse:
    """A ticket is used up before the upgrade, so that a refusal is an HTTP answer."""
    _check_upgrade(call)
    session, ticket = call.session(), bearer(call.request)
    sessions = call.services.sessions
    try:
        if ticket is None:
            raise Refused("a leg is opened with a ticket", code="bad_ticket")
        place, side = sessions.claim(session, ticket)
    except Refused as exc:
        count_stranger(call.services, call.address, FAILED_COST)
        raise Unauthorized(exc.message, code=exc.reason, hint="Ask for the session again.") from exc
    socket = make_socket()
    standing = Leg(socket, call.services.metrics.spliced_bytes.inc)
    clean, reason = False, ""
    arrived = False
    try:
        await socket.prepare(call.request)
        sessions.arrive(place, side, standing)
        arrived = True
        ended = await standing.run()
        clean, reason = ended.clean, ended.reason
    finally:
        if arrived:
            sessions.leave(place, side, standing, clean=clean, reason=reason)
    return socket


def _check_upgrade(call: Call) -> None:
    """Before anything is spent on it. Browsers say where they come from, and none of our clients is one."""
    headers = call.request.headers
    if headers.get("Upgrade", "").lower() != "websocket" or not headers.get("Sec-WebSocket-Key"):
        raise BadMessage("this address takes WebSockets alone", code="upgrade_required")
    if "Origin" in headers:
        raise Refused("web pages may not connect here", code="origin_refused")


# -- events ---------------------------------------------------------------------------------------------------------


async def events(call: Call) -> web.StreamResponse:
    """Server-Sent Events (WHATWG HTML, section 9.2), until the console leaves, lags, or may not listen any more."""
    services, login = call.services, call.login
    last_id = call.request.headers.get("Last-Event-ID", "")[:64]
    token = bearer(call.request) or ""
    with services.events.listen(login.organisation, login.fingerprint, last_id) as listener:
        services.metrics.listeners.set(len(services.events))
        answer = web.StreamResponse(headers=SECURITY_HEADERS)
        answer.content_type = "text/event-stream"
        await answer.prepare(call.request)
        await _send(answer, b": listening\n\n")
        try:
            while True:
                numbered: Numbered | None
                try:
                    async with asyncio.timeout(EVENT_SILENCE_S):
                        numbered = await listener.get()
                except TimeoutError:
                    numbered = None
                ended = services.clock.now() >= login.expires_at
                if numbered is None or ended or numbered.event.kind == "policy_changed":
                    login = await services.logins.check(token)
                if numbered is None:
                    await _send(answer, b": still here\n\n")
                elif await _may_hear(call, login, numbered.event):
                    await _send(answer, _frame(numbered))
        except (Overrun, Unauthorized, TimeoutError):
            # The stream ends; whoever may, comes back and reads anew.
            pass
        finally:
            services.metrics.listeners.set(len(services.events) - 1)
    return answer


async def _may_hear(call: Call, login: Login, event: Event) -> bool:
    device = event.device
    if device is None or isinstance(login.technician.scope, All):
        return True

    def job(connection: Connection) -> bool:
        row = devices.find_row(connection, login.organisation, device)
        return row is not None and listing.visible(connection, login.technician, login.organisation, row)

    return await call.services.store.read(job)


def _frame(numbered: Numbered) -> bytes:
    event = numbered.event
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (numbered.id.encode(), event.kind.encode(), encode(event))


async def _send(answer: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(EVENT_SEND_WITHIN_S):
        await answer.write(data)


ROUTES = (
    Route(
        method="GET",
        path="/v1/sessions",
        who="technician",
        handler=all_sessions,
        answer=Sessions,
        summary="Sessions, newest first: yours, and those on devices in your scope",
        query={
            "device": "of this device alone",
            "state": "`live`: those that are not over",
            "before": "started before this instant, Unix seconds",
            "limit": f"at most {MAX_SESSIONS_LISTED}",
        },
    ),
    Route(
        method="GET",
        path="/v1/sessions/{session}",
        who="technician",
        handler=find_session,
        answer=Session,
        summary="One session: how it stands, or how and why it ended",
    ),
    Route(
        method="DELETE",
        path="/v1/sessions/{session}",
        who="technician",
        handler=end_session,
        answer=Session,
        summary="End a session, or give up waiting for it",
    ),
    Route(
        method="GET",
        path="/v1/events",
        who="technician",
        handler=events,
        summary="Server-Sent Events; `data:` is an Event. A hint to look again, not a record",
    ),
    Route(method="GET", path="/v1/link", who="stranger", handler=link, summary="WebSocket: an agent's link"),
    Route(
        method="GET",
        path="/v1/legs/{session}",
        who="stranger",
        handler=leg,
        summary="WebSocket: one side of a session; Authorization: Bearer TICKET",
    ),
)
