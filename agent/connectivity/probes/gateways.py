"""Whether a default gateway is there: by ping, and where it ignores pings by the kernel's table of neighbours.

No privilege is needed for either. Datagram sockets of ICMP are open to all where net.ipv4.ping_group_range says so,
as Debian and Ubuntu have it; elsewhere, as in most containers, to nobody, and the table alone tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import secrets
import socket
import struct
from collections.abc import Iterable

from agent.connectivity.observed import Gateway
from agent.connectivity.probes.neighbours import is_neighbour, socket_address
from protocol.sections.network import Route
from protocol.system_clock import Clock

PINGS = 3
PING_S = 1.0
"""For an answer of the next machine; Wi-Fi that sleeps takes 0.3 s to wake."""

MAX_DATAGRAMS = 256
"""That are looked at for an answer: those of earlier pings, and whatever a gateway makes up."""

ECHO_REQUEST, ECHO_REQUEST_6 = 8, 128
MAX_GATEWAYS = 4


async def look_at_gateways(routes: Iterable[Route], clock: Clock) -> tuple[Gateway, ...]:
    """Each default gateway once. Those of a tunnel have no address, and nothing to answer."""
    named = {(r.gateway, r.interface) for r in routes if r.gateway}
    looks = (_look(address, interface, clock) for address, interface in sorted(named)[:MAX_GATEWAYS])
    return tuple(await asyncio.gather(*looks))


async def _look(address: str, interface: str, clock: Clock) -> Gateway:
    rtt_ms = await ping(address, interface, clock)
    if rtt_ms is not None:
        return Gateway(address=address, interface=interface, answers=True, by="ping", rtt_ms=rtt_ms)
    known = await is_neighbour(address, interface)
    return Gateway(address=address, interface=interface, answers=known, by="neighbour" if known is not None else "")


async def ping(address: str, interface: str, clock: Clock) -> float | None:
    """Milliseconds to an echo's answer; None where none came, or where we may not ask."""
    six = ipaddress.ip_address(address).version == 6
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    try:
        pinger = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except OSError:
        return None
    with pinger:
        pinger.setblocking(False)
        for number in range(PINGS):
            begun = clock.monotonic()
            if await _is_answered(pinger, number, address, interface):
                return (clock.monotonic() - begun) * 1000
    return None


async def _is_answered(pinger: socket.socket, number: int, address: str, interface: str) -> bool:
    """One ping. An error ends no other: it may tell of a moment ago, before the cable was back."""
    payload = secrets.token_bytes(16)
    kind = ECHO_REQUEST_6 if ":" in address else ECHO_REQUEST
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PING_S):
            try:
                pinger.connect(socket_address(address, interface, 0))
                pinger.send(struct.pack("!BBHHH", kind, 0, 0, 0, number) + payload)
                return await _is_echo_there(pinger, payload)
            except OSError:
                await asyncio.sleep(PING_S)  # the next one is to be as far off as after silence
    return False


async def _is_echo_there(pinger: socket.socket, payload: bytes) -> bool:
    """Among MAX_DATAGRAMS; the caller sets the deadline."""
    loop = asyncio.get_running_loop()
    for _ in range(MAX_DATAGRAMS):
        if (await loop.sock_recv(pinger, 2048)).endswith(payload):
            return True
        await asyncio.sleep(0)  # where one is there already, sock_recv lets no deadline fire
    return False
