"""A TCP connection whose other end is the relay: directly, or through a proxy. The one place where we dial.

TLS, and with it the question who is there, begins on what is returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from transport.proxy import Proxy
from transport.proxy_handshake import ProxyFailed, handshake, hung_up
from transport.relay_address import RelayAddress

CONNECT_S = 8.0
"""For a TCP connection, the name included: Linux has sent four SYNs by then (after 0, 1, 3 and 7 s). Longer than that
a machine that is gone shall not keep us from the next."""

PROXY_S = 15.0
"""For a proxy to reach the relay and say so: it has to resolve the name, and connects as slowly as we would."""

HAPPY_EYEBALLS_S = 0.25
"""RFC 8305: when to try the next address beside the first."""

MAX_ADDRESSES = 16
"""Of one name that are tried."""

Where = tuple[socket.AddressFamily, Any]
"""A family and what connect(2) takes in it."""

_NOT_OUR_FAMILY = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH})


async def dial(address: RelayAddress) -> socket.socket:
    """Raises ProxyFailed, or OSError where there is no proxy to blame; TimeoutError after CONNECT_S."""
    if address.proxy is None:
        return await connect_tcp(address.host, address.port)
    connection = await _to_proxy(address.proxy)
    try:
        async with asyncio.timeout(PROXY_S):
            await _through(connection, address.proxy, address)
    except TimeoutError as exc:
        connection.close()
        message = f"through the proxy {address.proxy.url} nothing was heard of {address.dialled_name} in time"
        hint = "Does the proxy reach the relay, and is it of this kind (http:// or socks5://)?"
        raise ProxyFailed(message, hint=hint) from exc
    except BaseException:
        connection.close()
        raise
    return connection


async def _to_proxy(proxy: Proxy) -> socket.socket:
    try:
        return await connect_tcp(proxy.host, proxy.port)
    except OSError as exc:
        match exc:
            case socket.gaierror():
                why = "its name cannot be resolved"
            case TimeoutError():
                why = "it does not answer"
            case ConnectionRefusedError():
                why = "nothing listens there"
            case _:
                why = exc.strerror or type(exc).__name__
        hint = "Is it the right proxy for the network that this machine is in now?"
        raise ProxyFailed(
            f"the proxy {proxy.url} cannot be reached: {why}", code="proxy_unreachable", hint=hint
        ) from exc


async def _through(connection: socket.socket, proxy: Proxy, address: RelayAddress) -> None:
    loop = asyncio.get_running_loop()
    steps = handshake(proxy, address.host, address.port)
    try:
        ask = next(steps)
        while True:
            if ask.data:
                await loop.sock_sendall(connection, ask.data)
            data = await loop.sock_recv(connection, ask.most)
            if not data:
                hung_up(proxy)
            ask = steps.send(data)
    except StopIteration:
        return
    except ConnectionError:
        hung_up(proxy)


# -- TCP ----------------------------------------------------------------------------------------------------------


async def connect_tcp(host: str, port: int) -> socket.socket:
    """By whichever address of `host` answers first, both families in turn (RFC 8305). Raises OSError."""
    async with asyncio.timeout(CONNECT_S):
        return await _race(await _resolve(host, port))


async def _resolve(host: str, port: int) -> list[Where]:
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).version == 4:  # no thread for what needs no resolver
            return [(socket.AF_INET, (host, port))]
        return [(socket.AF_INET6, (host, port, 0, 0))]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return _alternating([(family, where) for family, _, _, _, where in found])[:MAX_ADDRESSES]


def _alternating(found: Sequence[Where]) -> list[Where]:
    """The resolver's order, with the families taking turns: one that is broken costs one step."""
    found = list(dict.fromkeys(found))
    first = [where for where in found if where[0] == found[0][0]]
    others = [where for where in found if where[0] != found[0][0]]
    pairs = zip(first, others, strict=False)
    shorter = min(len(first), len(others))
    return [where for pair in pairs for where in pair] + first[shorter:] + others[shorter:]


class _Connected(Exception):
    """Ends the race: the others are cancelled."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection


async def _race(found: Sequence[Where]) -> socket.socket:
    failures: list[OSError] = []
    begun: list[asyncio.Event] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            for where in found:
                failed = asyncio.Event()
                begun.append(failed)
                tasks.create_task(_attempt(where, failed, failures))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HAPPY_EYEBALLS_S):
                        await failed.wait()
            # Stay until the end: a group that is cut short while it is being left leaves a cancellation on our account
            # (`Task.cancelling`), and Python 3.11.2 takes every later time-out of this task for that.
            for failed in begun:
                await failed.wait()
    except BaseExceptionGroup as group:
        connected = [exc.connection for exc in group.exceptions if isinstance(exc, _Connected)]
        if not connected:
            raise group.exceptions[0] from None
        for late in connected[1:]:
            late.close()
        return connected[0]
    # An address of a family that this machine does not have says nothing about the relay.
    raise min(failures, key=lambda exc: exc.errno in _NOT_OUR_FAMILY)


async def _attempt(where: Where, failed: asyncio.Event, failures: list[OSError]) -> None:
    family, address = where
    connection = None
    try:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        # Else the second of two small pieces waits for the far end's delayed acknowledgement, 40 ms: a request's body
        # behind its head, a key behind the one before. asyncio sets it only on sockets that name their protocol.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, address)
    except BaseException as exc:
        if connection is not None:
            connection.close()
        if not isinstance(exc, OSError):
            raise
        failures.append(exc)
        failed.set()
    else:
        raise _Connected(connection)
