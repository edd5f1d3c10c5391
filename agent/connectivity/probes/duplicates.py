"""Whether another machine has an address of this one. For IPv4 that takes the right to send frames, which root has;
without it nothing is said, for what is certain of IPv6 the kernel tells everybody.

Not believed: this machine's other adapters in the same network, and the gateway, which in some networks of hotels
answers for every address there is.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Sequence

from agent.connectivity.duplicate_wire import ETHERTYPE_ARP, holder_of, mac_bytes, mac_text, probe, refused_ipv6
from agent.facts.sources.files import read_text
from protocol.sections.network import Interface, Network

PROBES = 2
ANSWER_S = 0.5
"""For an answer from the same network; Wi-Fi that sleeps takes 0.3 s to wake."""

MAX_ASKED = 4
MAX_FRAME_BYTES = 2048
MAX_FRAMES = 256
"""Of a probe. Half a second of an ordinary network has a dozen ARP frames; more are a flood and not read."""

MAX_HOLDERS = 16
"""One is enough to say so; a handful may be gateways."""


async def look_for_duplicates(network: Network) -> tuple[str, ...]:
    """Own addresses that another machine answers for. Only on interfaces that lead out."""
    refused: tuple[str, ...] = ()
    with contextlib.suppress(OSError):
        refused = refused_ipv6(read_text("/proc/net/if_inet6"))
    leading = {route.interface for route in network.default_routes}
    own = {interface.mac for interface in network.interfaces}
    gateways = [route.gateway for route in network.default_routes if route.family == 4]
    asked = [(i, a) for i in network.interfaces if i.name in leading for a in _own_addresses(i)][:MAX_ASKED]
    found = await asyncio.gather(*(_is_held(interface, address, own, gateways) for interface, address in asked))
    return refused + tuple(str(address) for (_, address), held in zip(asked, found, strict=True) if held)


def _own_addresses(interface: Interface) -> list[ipaddress.IPv4Address]:
    parsed = [ipaddress.ip_interface(address) for address in interface.addresses]
    return [p.ip for p in parsed if isinstance(p, ipaddress.IPv4Interface) and p.network.prefixlen < 31]


async def _is_held(
    interface: Interface, address: ipaddress.IPv4Address, own: set[str], gateways: Sequence[str]
) -> bool:
    """By somebody else than this machine and its gateways."""
    mac, family = mac_bytes(interface.mac), getattr(socket, "AF_PACKET", None)
    if not mac or family is None or not interface.up:
        return False
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP)) as wire:
        wire.bind((interface.name, ETHERTYPE_ARP))
        wire.setblocking(False)
        holders = await _holders(wire, mac, address) - own
        if holders:
            return bool(holders - await _gateway_macs(wire, mac, gateways))
    return False


async def _gateway_macs(wire: socket.socket, mac: bytes, gateways: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for gateway in gateways:
        with contextlib.suppress(ValueError):
            found |= await _holders(wire, mac, ipaddress.IPv4Address(gateway))
    return found


async def _holders(wire: socket.socket, mac: bytes, address: ipaddress.IPv4Address) -> set[str]:
    """Everybody who answers for `address`, at most MAX_HOLDERS."""
    loop = asyncio.get_running_loop()
    found: set[str] = set()
    for _ in range(PROBES):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await loop.sock_sendall(wire, probe(mac, address))
                for _ in range(MAX_FRAMES):
                    holder = holder_of(await loop.sock_recv(wire, MAX_FRAME_BYTES), address)
                    if holder and holder != mac_text(mac):
                        found.add(holder)
                    if len(found) == MAX_HOLDERS:
                        return found
                    await asyncio.sleep(0)  # where a frame is there already, sock_recv lets no deadline fire
    return found
