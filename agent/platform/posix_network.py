"""Notices that the network changed: an address came or went, a route, a cable, a radio. Linux; elsewhere, never.

The kernel tells whoever listens on a netlink socket (rtnetlink(7)); nothing is polled. What changed is not parsed:
that something did is enough to look whether the link still stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Callable

from agent.facts.parsers.kernel import parse_ipv4_routes, parse_ipv6_routes

RTMGRP_LINK = 0x1
RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE = 0x10, 0x40
RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE = 0x100, 0x400
GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE
"""linux/rtnetlink.h"""

SETTLE_S = 1.0
"""One change is a burst of messages: link up, address, route. It is told once, this long after it began."""

MAX_READ_BYTES = 65536
READS = 64
"""At a time, so that a storm of messages does not hold the loop up."""


def watch_network(changed: Callable[[], None]) -> Callable[[], None]:
    """Call `changed` in the running loop after each change; return what ends it."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return _nothing
    try:
        netlink = socket.socket(family, socket.SOCK_RAW, 0)  # 0: NETLINK_ROUTE
        netlink.setblocking(False)
        netlink.bind((0, GROUPS))
    except OSError:
        return _nothing  # a sandbox without netlink
    return _Watch(netlink, changed).close


def _nothing() -> None:
    return None


class _Watch:
    def __init__(self, netlink: socket.socket, changed: Callable[[], None]) -> None:
        self._netlink = netlink
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(netlink.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        for _ in range(READS):
            try:
                self._netlink.recv(MAX_READ_BYTES)
            except BlockingIOError:
                break
            except OSError as exc:
                if exc.errno != errno.ENOBUFS:  # the kernel dropped some: something changed all the same
                    self.close()
                    return
        if self._timer is None:
            self._timer = self._loop.call_later(SETTLE_S, self._on_settled)

    def _on_settled(self) -> None:
        self._timer = None
        self._changed()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._netlink.fileno())
        self._netlink.close()


def source_address(destination: str) -> str | None:
    """Our IP address from which packets to the IP address `destination` would leave now; None where none would.

    Nothing is sent: connecting a datagram socket only asks for the route (udp(7)).
    """
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((destination, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


ROUTES = "/proc/net/route"
ROUTES6 = "/proc/net/ipv6_route"
MAX_TABLE_BYTES = 1024 * 1024


def gateways() -> list[tuple[str, int]]:
    """The default gateways, the one that is used first: address, and index of the interface; IPv4 before IPv6."""
    routes = (*parse_ipv4_routes(_table(ROUTES), sys.byteorder), *parse_ipv6_routes(_table(ROUTES6)))
    found = []
    for route in sorted((r for r in routes if r.gateway), key=lambda r: (r.family, r.metric)):
        with contextlib.suppress(OSError):  # it went away meanwhile
            found.append((route.gateway, socket.if_nametoindex(route.interface)))
    return found


def _table(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(MAX_TABLE_BYTES)
    except OSError:
        return ""  # a kernel without IPv6, or no Linux
