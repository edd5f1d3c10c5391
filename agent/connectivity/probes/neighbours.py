"""Whether the next machine has said its hardware address: for those that ignore pings.

A host that says nothing to pings still has to answer the kernel's questions (ARP, neighbour discovery), or nobody
could send it anything. So something is sent that way, which makes the kernel ask, and its table is read until the
question has its answer. One that was under way when we came may have been put before the cable was back: what failed
is asked once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket

from agent.connectivity.neighbour_wire import FAILED, PROVEN, UNDER_WAY, ask_for_all, read_answer

SETTLED_WITHIN_S = 10.0
"""Longer than Linux takes from a packet to the end of an entry it had: five seconds in which a sign of life may come
by itself, then three questions a second apart. One that it did not have takes three seconds."""

LOOK_EVERY_S = 0.1
TRIES = 2

KERNEL_S = 1.0
MAX_READ_BYTES = 65536
MAX_READS = 64

DISCARD_PORT = 9
"""RFC 863: whatever is sent there asks for nothing, but has to be delivered."""


async def is_neighbour(address: str, interface: str) -> bool | None:
    """None where this system does not tell, or has no entry for it after something was sent there."""
    state: int | None = None
    for _ in range(TRIES):
        _knock(address, interface)
        state = await _settled(address, interface)
        if state is None:
            return None
        if state & PROVEN:
            return True
    return False if state is not None and state & FAILED else None


async def _settled(address: str, interface: str) -> int | None:
    """The entry's state once the kernel has finished asking; the last one where it does not in SETTLED_WITHIN_S."""
    state = neighbour_state(address, interface)
    for _ in range(round(SETTLED_WITHIN_S / LOOK_EVERY_S)):
        if state is None or not state & UNDER_WAY:
            break
        await asyncio.sleep(LOOK_EVERY_S)
        state = neighbour_state(address, interface)
    return state


def _knock(address: str, interface: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as knock:
        knock.sendto(b"", socket_address(address, interface, DISCARD_PORT))


def socket_address(address: str, interface: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """As sockets take it. Raises OSError where a link-local address's interface is gone."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 4:
        return (address, port)
    return (address, port, 0, socket.if_nametoindex(interface) if parsed.is_link_local else 0)


def neighbour_state(address: str, interface: str) -> int | None:
    """Of neighbour_wire's states; None without an entry, and on systems that are not Linux."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    with contextlib.suppress(OSError):
        number = socket.if_nametoindex(interface)
        with socket.socket(family, socket.SOCK_RAW, 0) as kernel:  # 0: NETLINK_ROUTE
            kernel.settimeout(KERNEL_S)
            kernel.send(ask_for_all(socket.AF_INET6 if ":" in address else socket.AF_INET))
            for _ in range(MAX_READS):
                found, is_last = read_answer(kernel.recv(MAX_READ_BYTES))
                if (address, number) in found:
                    return found[(address, number)]
                if is_last:
                    break
    return None
