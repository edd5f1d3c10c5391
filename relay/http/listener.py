"""The listening socket: who may connect at all, and how long anything may take before there is a request.

Connections are counted per address before TLS costs anything; handshakes are bounded in number and time, and taken at a
pace that leaves the loop to those who are in, so that a crowd costs those who are in no time; a request's head
has a deadline. aiohttp does the rest.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from relay import logs
from relay.admission import Crowd, address_key
from relay.config import EVERYWHERE, Config, is_trusted_proxy
from relay.metrics import Metrics
from relay.pace import Pace

HANDSHAKE_WITHIN_S = 10.0
SHUTDOWN_WITHIN_S = 5.0

HEAD_WITHIN_S = 15.0
"""From the connection to the first request's head: whoever sends a byte a minute is cut off."""

IDLE_S = 75.0
"""Likewise from one answer to the next request: clients keep connections for 30 s."""

HANDSHAKES_PER_ADDRESS = 64
BACKLOG = 4_096
MAX_LINE_BYTES = 8 * 1024
MAX_HEADERS = 64
MAX_FIELD_BYTES = 16 * 1024
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 60, 15, 4
"""The kernel's own probes: a leg whose peer vanished is noticed within two minutes, even while nobody reads."""

NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""A machine without IPv6, or without IPv4: the other one is enough, where it is to listen everywhere."""

MAX_WAITING = 128
"""For their turn at a handshake: a second's worth. Who comes beyond is reset, and comes again: devices by a backoff
that spreads them, people at once (transport/patience.py). In a longer line everybody would wait until they give up,
and who is served then has gone."""

ACCEPT_PAUSE_S = 0.5
"""When the process is out of file descriptors."""


class _Handler(RequestHandler):
    """aiohttp's protocol, which also says when its connection is gone."""

    __slots__ = ("_gone",)

    def __init__(self, manager: web.Server, *, gone: Callable[[], None], **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # arms the deadline of the first head
        self._keepalive_timeout = IDLE_S

    def connection_lost(self, exc: BaseException | None) -> None:
        self._gone()
        super().connection_lost(exc)


class Listener:
    """`bind`, `start` with the application, `serve` until cancelled.

    tls: asked for the context of each new connection; None: a trusted proxy does TLS.
    """

    def __init__(self, config: Config, metrics: Metrics, tls: Callable[[], ssl.SSLContext] | None) -> None:
        self._runner: web.AppRunner | None = None
        self._config = config
        self._metrics = metrics
        self._tls = tls
        limits = config.limits
        self._connections = Crowd(total=limits.connections, per_key=limits.connections_per_address)
        self._shaking = Crowd(total=limits.handshakes, per_key=min(HANDSHAKES_PER_ADDRESS, limits.handshakes))
        self._turn = asyncio.Semaphore(limits.handshakes)
        self._pace = Pace()
        self._waiting: asyncio.Queue[tuple[socket.socket, str]] = asyncio.Queue(MAX_WAITING)
        self._sockets: list[socket.socket] = []
        self.port = 0

    async def bind(self) -> None:
        """Listen; whoever comes waits in the kernel until `serve`. Raises OSError."""
        wanted = self._config.listen
        everywhere = wanted.host == EVERYWHERE
        found = await asyncio.get_running_loop().getaddrinfo(
            None if everywhere else wanted.host, wanted.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        missing: OSError | None = None
        for family, where in dict.fromkeys((family, where) for family, _, _, _, where in found):
            try:
                self._listen_at(family, where)
            except OSError as exc:
                if not everywhere or exc.errno not in NO_SUCH_FAMILY:
                    raise
                missing = exc
        if not self._sockets:
            raise missing or OSError(errno.EADDRNOTAVAIL, "there is no such address")

    def _listen_at(self, family: socket.AddressFamily, where: tuple[Any, ...]) -> None:
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # Every address of a name gets the port that the first one got.
            listening.bind((where[0], self.port or where[1], *where[2:]))
            listening.setblocking(False)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        self._sockets.append(listening)
        self.port = listening.getsockname()[1]

    async def start(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_WITHIN_S)
        await self._runner.setup()

    async def serve(self) -> None:
        """Accept until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._let_in(tasks))
            for listening in self._sockets:
                tasks.create_task(self._accept(listening))

    def stop_listening(self) -> None:
        for listening in self._sockets:
            listening.close()

    async def close(self) -> None:
        """End what is left of the connections."""
        self.stop_listening()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(listening)
            except OSError as exc:
                if listening.fileno() < 0:
                    return
                logs.warning("accept_failed", error=str(exc))
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            try:
                self._waiting.put_nowait((connection, str(peer[0])))
            except asyncio.QueueFull:
                self._metrics.handshakes_refused.labels(why="crowd").inc()
                _reset(connection)

    async def _let_in(self, tasks: asyncio.TaskGroup) -> None:
        """One after the other, at the pace that leaves the loop to those who are in."""
        loop = asyncio.get_running_loop()
        while True:
            connection, peer = await self._waiting.get()
            await self._turn.acquire()
            tasks.create_task(self._take(connection, peer))
            began = loop.time()
            await asyncio.sleep(0)
            self._pace.on_turn(loop.time() - began)
            if self._pace.wait_s:
                await asyncio.sleep(self._pace.wait_s)

    async def _take(self, connection: socket.socket, peer: str) -> None:
        try:
            refused = self._enter(peer)
            if refused:
                self._metrics.handshakes_refused.labels(why=refused).inc()
                _reset(connection)
                return
            try:
                await self._shake_hands(connection, peer)
            finally:
                self._shaking.leave(address_key(peer))
        finally:
            self._turn.release()

    def _enter(self, peer: str) -> str:
        """ "" if the connection may begin, and is counted; else why not."""
        key = address_key(peer)
        proxy = is_trusted_proxy(self._config, peer)
        if self._tls is None and not proxy:
            return "not_the_proxy"
        if not self._shaking.enter(key, exempt=proxy):
            return "handshakes"
        if not self._connections.enter(key, exempt=proxy):
            self._shaking.leave(key)
            return "connections"
        self._metrics.connections.set(len(self._connections))
        return ""

    async def _shake_hands(self, connection: socket.socket, peer: str) -> None:
        key = address_key(peer)
        gone = False

        def leave() -> None:
            nonlocal gone
            if not gone:
                gone = True
                self._connections.leave(key)
                self._metrics.connections.set(len(self._connections))

        try:
            connection.setblocking(False)
            _keep_alive(connection)
            async with asyncio.timeout(HANDSHAKE_WITHIN_S + 1.0):
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: self._protocol(leave),
                    connection,
                    ssl=self._tls() if self._tls else None,
                    ssl_handshake_timeout=HANDSHAKE_WITHIN_S if self._tls else None,
                    ssl_shutdown_timeout=SHUTDOWN_WITHIN_S if self._tls else None,
                )
        except (OSError, ssl.SSLError, TimeoutError):
            connection.close()
            leave()
            self._metrics.handshakes_refused.labels(why="handshake_failed").inc()
        except BaseException:
            connection.close()
            leave()
            raise

    def _protocol(self, gone: Callable[[], None]) -> _Handler:
        assert self._runner is not None and self._runner.server is not None, "serve() comes after start()"
        server = self._runner.server
        return _Handler(
            server,
            gone=gone,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=HEAD_WITHIN_S,
            tcp_keepalive=False,  # _keep_alive has set it, with our own times
            access_log=None,
            max_line_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            max_field_size=MAX_FIELD_BYTES,
            lingering_time=5.0,
            auto_decompress=False,  # a bomb of a body is not unpacked; nobody sends one packed
        )


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_COUNT),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _reset(connection: socket.socket) -> None:
    """Close with RST: what was refused leaves no state behind in TIME_WAIT."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()
