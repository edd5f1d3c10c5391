"""Whether a default gateway is there: by ping, and where it ignores pings by the neighbour table.

A host that says nothing to pings still has to say its hardware address, or nobody could send it anything: so the
kernel's neighbour table (arp(7)) knows, a second after a packet was sent that way. No privilege is needed for either:
datagram sockets of ICMP are open to all where net.ipv4.ping_group_range says so, as Debian and Ubuntu have it.
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
from agent.facts.sources.files import read_text
from protocol.sections.network import Route
from protocol.system_clock import Clock

PINGS = 3
PING_S = 1.0
"""For an answer of the next machine; Wi-Fi that sleeps takes 0.3 s to wake."""

DISCARD_PORT = 9
"""RFC 863: whatever is sent there asks for nothing, but has to be delivered."""

ARP_COMPLETE = 0x2
"""linux/if_arp.h, ATF_COM: its hardware address is known."""

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
    known = await _is_neighbour(address, interface)
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
        with contextlib.suppress(OSError):
            pinger.connect(_where(address, interface, six))
            for number in range(PINGS):
                begun = clock.monotonic()
                payload = secrets.token_bytes(16)
                pinger.send(struct.pack("!BBHHH", ECHO_REQUEST_6 if six else ECHO_REQUEST, 0, 0, 0, number) + payload)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PING_S):
                        await _echo(pinger, payload)
                        return (clock.monotonic() - begun) * 1000
    return None


async def _echo(pinger: socket.socket, payload: bytes) -> None:
    loop = asyncio.get_running_loop()
    while not (await loop.sock_recv(pinger, 2048)).endswith(payload):
        pass


def _where(address: str, interface: str, six: bool) -> tuple[object, ...]:
    if not six:
        return (address, 0)
    scope = socket.if_nametoindex(interface) if ipaddress.ip_address(address).is_link_local else 0
    return (address, 0, 0, scope)


async def _is_neighbour(address: str, interface: str) -> bool | None:
    """By Linux' table of IPv4 neighbours; None elsewhere, and where the table does not hold it at all."""
    if ipaddress.ip_address(address).version == 6:
        return None
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knock:
        knock.sendto(b"", (address, DISCARD_PORT))
    await asyncio.sleep(PING_S)  # three questions of the kernel's, a third of a second apart at the least
    return neighbour_state(read_text("/proc/net/arp"), address, interface) if _has_table() else None


def _has_table() -> bool:
    with contextlib.suppress(OSError):
        return bool(read_text("/proc/net/arp"))
    return False


def neighbour_state(table: str, address: str, interface: str) -> bool | None:
    """Whether `address` has a hardware address in /proc/net/arp; None where it is not listed. Pure."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 6 and fields[0] == address and fields[5] == interface:
            with contextlib.suppress(ValueError):
                return bool(int(fields[2], 16) & ARP_COMPLETE)
    return None
