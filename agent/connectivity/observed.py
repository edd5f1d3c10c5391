"""What the probes saw, before anybody judges it. Times in milliseconds; None is "not found out".

Each probe fills its own Struct; one that could not look leaves its place empty, and the rung above it is unknown.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.sections.modem import Modems
from protocol.sections.network import Interface, Route
from protocol.sections.router import Router
from protocol.sections.wifi import Wifi

DnsOutcome = Literal["answered", "no_name", "no_address", "servfail", "refused", "silent", "closed", "garbled"]
"""no_name: NXDOMAIN.  no_address: the name is there, without an address.  closed: nothing listens on its port."""

TcpOutcome = Literal["open", "refused", "unreachable", "silent", "no_route"]
"""unreachable: a router said so.  silent: no answer in time.  no_route: this machine has no way of its own."""

TlsOutcome = Literal["trusted", "wrong_key", "not_trusted", "not_valid_now", "broken", "silent"]
"""wrong_key: another key than the pinned one.  not_trusted: signed by nobody this system trusts, or for another name.
not_valid_now: its dates, by this machine's clock.  broken: no TLS at all.  silent: the handshake stopped."""

ProxyOutcome = Literal["open", "unreachable", "wants_credentials", "refused", "broken"]


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """A default gateway. answers: None where nobody could tell.  by: how it was seen, "ping" or "neighbour"."""

    address: str
    interface: str
    answers: bool | None = None
    by: str = ""
    rtt_ms: float | None = None
    duplicate: bool = False
    """Two machines answered for its address."""


class NameServer(msgspec.Struct, frozen=True, kw_only=True):
    """One configured server's word. addresses: for the relay's name.  invents: it has addresses (`invented`) for a
    name that nobody has.  asks_others: it denied that name, which only somebody beyond it can know."""

    server: str
    outcome: DnsOutcome
    addresses: tuple[str, ...] = ()
    ms: float | None = None
    invents: bool = False
    invented: tuple[str, ...] = ()
    asks_others: bool = False


class Reached(msgspec.Struct, frozen=True, kw_only=True):
    """A TCP connection to one address of the relay. ms: until it was open."""

    address: str
    family: Literal[4, 6]
    outcome: TcpOutcome
    ms: float | None = None


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """issuer, subject: of the certificate that was shown, as it names them, "" where none was seen.

    by_system: whether the system's own authorities trust it.
    """

    outcome: TlsOutcome
    issuer: str = ""
    subject: str = ""
    by_system: bool = False


class Web(msgspec.Struct, frozen=True, kw_only=True):
    """What plain HTTP on port 80 of a public name said. kind: "portal" is a redirect or a page by somebody who is not
    who was asked.  location: where it sent us.  closed, silent: nobody there, which is no fault."""

    kind: Literal["as_expected", "portal", "proxy_asks", "closed", "silent"]
    location: str = ""


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """The relay as it was found. host: as it is dialled.  is_name: it has to be resolved.

    resolved: by this system's own resolver, empty where it failed.  remembered: addresses of an earlier time.
    found_at: the address where it proved to be itself, "" where nowhere.
    small_ok, large_ok: whether a small and a large request were answered; clamped_ok: a large one in small packets.
    date: Unix seconds as the relay has it.  asked_at: by this machine's clock when it said so.
    rtts_ms: of TCP connections that were opened to measure.  lost: of them, those that were not open in a second.
    """

    host: str
    port: int
    is_name: bool
    resolved: tuple[str, ...] = ()
    remembered: tuple[str, ...] = ()
    found_at: str = ""
    reached: tuple[Reached, ...] = ()
    tls: Tls | None = None
    small_ok: bool | None = None
    large_ok: bool | None = None
    clamped_ok: bool | None = None
    status: int | None = None
    date: float | None = None
    asked_at: float | None = None
    rtts_ms: tuple[float, ...] = ()
    lost: int = 0


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """url: without credentials."""

    url: str
    outcome: ProxyOutcome
    reason: str = ""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the ladder rests on. outside: whether anything beyond the gateway answered, and who."""

    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    dns_servers: tuple[str, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    name_servers: tuple[NameServer, ...] = ()
    web: Web | None = None
    proxy: Proxy | None = None
    relay: Relay | None = None
    router: Router | None = None
    duplicates: tuple[str, ...] = ()
    """Own addresses for which somebody else answered."""
    wifi: Wifi | None = None
    modem: Modems | None = None
