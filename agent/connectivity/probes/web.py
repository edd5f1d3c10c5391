"""What plain HTTP says on port 80, where a captive portal or a proxy speaks in the name of others.

We ask the relay's own host: no third party learns of it, and whatever answers is either the relay's operator or
somebody in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

import h11

from agent.connectivity.observed import Web
from protocol.text import escape
from transport.dial import connect_tcp
from transport.hosts import join_port
from transport.http_wire import HttpWire

PORT = 80
WITHIN_S = 6.0
MAX_LOCATION_CHARS = 200

PROXY_AUTHENTICATION, NETWORK_AUTHENTICATION = 407, 511
"""RFC 9110 15.5.8, RFC 6585 6."""

DATE = b"date"


async def ask_plainly(host: str) -> tuple[Web, str]:
    """What was found, and the Date header of whoever answered, or ""."""
    try:
        async with asyncio.timeout(WITHIN_S):
            connection = await connect_tcp(host, PORT)
    except (ConnectionRefusedError, PermissionError):
        return Web(kind="closed"), ""
    except (OSError, TimeoutError):
        return Web(kind="silent"), ""
    with connection, contextlib.suppress(OSError, TimeoutError, h11.RemoteProtocolError):
        async with asyncio.timeout(WITHIN_S):
            answer = await _answer(connection, host)
            return judge_web(answer.status_code, _header(answer, b"location"), host), _header(answer, DATE)
    return Web(kind="silent"), ""


async def _answer(connection: socket.socket, host: str) -> h11.Response:
    wire = HttpWire(*await asyncio.open_connection(sock=connection))
    try:
        await wire.send("GET", "/", [("Host", host_header(host)), ("Connection", "close")])
        return await wire.answer()
    finally:
        wire.close()


def host_header(host: str) -> str:
    return join_port(host, PORT).removesuffix(f":{PORT}")


def _header(answer: h11.Response, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in answer.headers if key == name), "")


def judge_web(status: int, location: str, host: str) -> Web:
    """What an answer on port 80 of `host` means. A redirect to its own HTTPS is what most servers do; one to anybody
    else, or a page of a host that serves none, is a portal's. Pure."""
    if status == PROXY_AUTHENTICATION:
        return Web(kind="proxy_asks")
    if status == NETWORK_AUTHENTICATION:
        return Web(kind="portal")
    if 300 <= status < 400:
        with contextlib.suppress(ValueError):
            to = urlsplit(location)
            if not to.hostname or (to.hostname.lower() == host and to.scheme == "https"):
                return Web(kind="as_expected")
        return Web(kind="portal", location=escape(location, limit=MAX_LOCATION_CHARS))
    return Web(kind="portal" if 200 <= status < 300 else "as_expected")
