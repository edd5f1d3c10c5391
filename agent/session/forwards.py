"""Port-forwards of one session: judged, resolved and connected by the supervisor; the child only carries the bytes.

    Connect from the child -> may this session forward -> could the policy permit it -> resolve -> each address judged
                           -> connect to the very address -> Opened + the socket, or Denied and why

A name is resolved here once, and what was judged is what is connected to: a name that leads elsewhere a moment later
changes nothing. Only TCP; a path of a socket on the device is no target at all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Callable

import msgspec

from agent.admission import DeviceView, Ended, Running, may_open
from agent.session.endpoint import Send
from agent.session.host import Host
from agent.session.ipc import MAX_CONNECTING, Connect, Denied, Opened
from agent.session.journal import Journal
from protocol.errors import AuxilioError, BadMessage, Refused, Unavailable
from protocol.forward import (
    GATEWAY,
    LOCALHOST,
    Address,
    Target,
    asked_host,
    could_permit,
    forbidden,
    literal,
    permits,
    unwrapped,
)
from protocol.text import escape

MAX_ADDRESSES = 8
"""Of one name."""

RESOLVE_WITHIN_S = 10.0
RESOLVING = asyncio.Semaphore(4)
"""Lookups at one time, of all sessions: each holds one of the agent's few threads, a dead resolver for long."""

CONNECT_WITHIN_S = 10.0
"""To one address; a host in the same network that is there answers in milliseconds."""

MAX_NAMED = 64
"""Targets, and refusals, that one session adds to the device's log."""

LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))


class Reachable(msgspec.Struct, frozen=True):
    """Where a connection is to be tried. zone: of a link-local IPv6 address, the interface's number."""

    address: Address
    zone: int = 0
    is_gateway: bool = False


class Forwards:
    def __init__(
        self,
        running: Running,
        *,
        host: Host,
        journal: Journal,
        view: Callable[[], DeviceView],
        now: Callable[[], float],
        send: Send,
        guarded: Callable[[], frozenset[int]],
        end: Callable[[Ended], None],
    ) -> None:
        """guarded: ports of the relay's operators, where the relay runs on this machine.

        end: called where a question finds that the whole session is over.
        """
        self._running = running
        self._session = running.verified.request.session
        self._host = host
        self._journal = journal
        self._view = view
        self._now = now
        self._send = send
        self._guarded = guarded
        self._end = end
        self._connecting: set[asyncio.Task[None]] = set()
        self._named: set[tuple[str, str, int]] = set()

    def connect(self, message: Connect) -> None:
        """Answer `message` in a while. Raises BadMessage where a child that kept to the rules would have waited."""
        if len(self._connecting) >= MAX_CONNECTING:
            raise BadMessage("more connections on the way than there may be")
        task = asyncio.get_running_loop().create_task(self._answer(message))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def end_all(self) -> None:
        """Connect no more. What is connected is the child's, and ends with it."""
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _answer(self, message: Connect) -> None:
        try:
            connected, address = await self._connected(message)
        except Ended as exc:
            self._end(exc)
        except AuxilioError as exc:
            if self._is_new("refused", message):
                self._journal.record("forward_refused", **self._entry(message), code=exc.reason)
            self._send(Denied(channel=message.channel, code=exc.reason, message=exc.message, hint=exc.hint))
        else:
            with connected:
                if self._is_new("open", message):
                    self._journal.record("forward_open", **self._entry(message), address=str(address))
                self._send(Opened(channel=message.channel), (connected.fileno(),))

    def _is_new(self, event: str, message: Connect) -> bool:
        """Each target is in the log once: a page in a browser is a hundred connections to one."""
        entry = (event, message.host, message.port)
        if entry in self._named or len(self._named) >= MAX_NAMED:
            return False
        self._named.add(entry)
        return True

    def _entry(self, message: Connect) -> dict[str, object]:
        return {"session": self._session, "host": escape(message.host, limit=256), "port": message.port}

    async def _connected(self, message: Connect) -> tuple[socket.socket, Address]:
        """Raises Ended, Refused, UsageInvalid, Unavailable."""
        view = self._view()
        may_open(self._running, "forward", view=view, now=self._now())
        targets = view.forward_targets()
        host = asked_host(message.host)
        if not could_permit(targets, host, message.port):
            raise self._not_permitted(host, message.port)
        refusal: AuxilioError | None = None
        for reachable in (await self._resolved(host))[:MAX_ADDRESSES]:
            try:
                self._judge(targets, host, message.port, reachable)
                return await _dialled(reachable, message.port), reachable.address
            except (Refused, Unavailable) as exc:
                # That nothing answers says more than that the next address is not permitted.
                refusal = exc if refusal is None or isinstance(exc, Unavailable) else refusal
        raise refusal or Unavailable(f"{host} has no address", code="no_such_host")

    def _not_permitted(self, host: str, port: int) -> Refused:
        return Refused(
            f"the policy permits no forward to {host}:{port}",
            code="target_not_permitted",
            hint="An admin adds targets with `auxilio policy edit` (forward).",
        )

    def _judge(self, targets: tuple[Target, ...], host: str, port: int, reachable: Reachable) -> None:
        why = forbidden(reachable.address, is_gateway=reachable.is_gateway)
        if why is None and port in self._guarded() and self._host.is_own_address(str(unwrapped(reachable.address))):
            why = "it is the relay's own port for its operators"
        if why is not None:
            raise Refused(f"{host}:{port} is not forwarded to: {why}", code="target_forbidden")
        if not permits(targets, host, port, reachable.address):
            raise self._not_permitted(host, port)

    async def _resolved(self, host: str) -> list[Reachable]:
        if host == LOCALHOST:  # whatever the resolver says
            return [Reachable(address) for address in LOOPBACK]
        if host == GATEWAY:
            return [Reachable(_address(text), zone, True) for text, zone in self._host.gateways()]
        address = literal(host)
        if address is not None:
            return [Reachable(address)]
        try:
            async with asyncio.timeout(RESOLVE_WITHIN_S), RESOLVING:
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:  # a TimeoutError is an OSError
            raise Unavailable(f"the device cannot resolve {host}", code="no_such_host") from exc
        return [Reachable(_address(str(entry[4][0]))) for entry in found]


def _address(text: str) -> Address:
    return ipaddress.ip_address(text.split("%", 1)[0])


async def _dialled(reachable: Reachable, port: int) -> socket.socket:
    """Raises Unavailable."""
    address = reachable.address
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    where: tuple[object, ...] = (
        (str(address), port) if address.version == 4 else (str(address), port, 0, reachable.zone)
    )
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        async with asyncio.timeout(CONNECT_WITHIN_S):
            await asyncio.get_running_loop().sock_connect(connecting, where)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        connecting.close()
        raise Unavailable(f"{address} port {port} does not answer", code="no_answer") from None
    except OSError as exc:
        connecting.close()
        why = os.strerror(exc.errno) if exc.errno else exc
        raise Unavailable(f"{address} port {port}: {why}", code="not_connected") from exc
    except BaseException:
        connecting.close()
        raise
    return connecting
