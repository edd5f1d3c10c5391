"""The section on interfaces, addresses, routes and name servers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from protocol.codec import Record
from protocol.sections.base import Count, Section


class Interface(Record, frozen=True, kw_only=True):
    """addresses: with prefix length, "192.0.2.4/24".  kind: ethernet, wifi, cellular, loopback, virtual or "".

    up: administratively and in carrier.  mtu: bytes.  speed_mbps: megabits a second, None where unknown.
    mac: "" where it has none.
    """

    name: str
    kind: str = ""
    up: bool = False
    mac: str = ""
    mtu: Count | None = None
    speed_mbps: Count | None = None
    addresses: tuple[str, ...] = ()


class Route(Record, frozen=True, kw_only=True):
    """A default route. family: 4 or 6.  gateway: "" where the route has none (a tunnel).  metric: lower goes first."""

    family: Annotated[int, Meta(ge=4, le=6)]
    gateway: str
    interface: str
    metric: Count = 0


class Network(Section, frozen=True, kw_only=True):
    """dns_servers: those that are asked, in order.  dns_stub: the resolver on this machine that asks them, or ""."""

    interfaces: tuple[Interface, ...] = ()
    default_routes: tuple[Route, ...] = ()
    dns_servers: tuple[str, ...] = ()
    dns_stub: str = ""
    search_domains: tuple[str, ...] = ()
