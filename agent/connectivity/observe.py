"""Looks at everything that the ladder rests on, side by side, and says so as it goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from agent.connectivity.observed import Gateway, NameServer, Observed, Proxy, Relay, Web
from agent.connectivity.probes.duplicates import look_for_duplicates
from agent.connectivity.probes.gateways import look_at_gateways
from agent.connectivity.probes.name_servers import ask_all
from agent.connectivity.probes.relay import MEASURES, look_at_relay, look_through_proxy, read_date
from agent.connectivity.probes.router import look_at_router
from agent.connectivity.probes.web import ask_plainly
from protocol.sections.network import Network
from protocol.sections.router import Router
from protocol.system_clock import Clock
from transport.relay_address import RelayAddress

DEADLINE_S = 45.0
"""Of every probe: the relay's has the most steps, and on a network where each of them is silent it takes so long."""

T = TypeVar("T")
Told = Callable[[str], None]
"""Called with the name of a rung when what it rests on has been looked at."""


async def observe(
    network: Network,
    address: RelayAddress | None,
    clock: Clock,
    *,
    remembered: Sequence[str] = (),
    measures: int = MEASURES,
    deadline_s: float = DEADLINE_S,
    told: Told = lambda name: None,
) -> Observed:
    """network: as the section was just collected.  address: the relay; None where this device has none.
    remembered: addresses at which the relay was before.  measures: of latency and loss.  deadline_s: of each probe.

    Never raises for what the network does.
    """
    seen = Observed(interfaces=network.interfaces, routes=network.default_routes, dns_servers=network.dns_servers)
    told("adapter")
    plainly = address is not None and address.proxy is None
    name = address.host if address is not None and plainly and not _is_literal(address.host) else None
    nobody: tuple[Gateway, ...] = ()
    unasked: tuple[NameServer, ...] = ()
    silent = Router()
    alone: tuple[str, ...] = ()
    duplicates, gateways, router, name_servers, web, (proxy, relay) = await asyncio.gather(
        _within(deadline_s, look_for_duplicates(network), alone, lambda: told("address")),
        _within(deadline_s, look_at_gateways(network.default_routes, clock), nobody, lambda: told("gateway")),
        _within(deadline_s, look_at_router(network.default_routes, clock), silent, lambda: told("router")),
        _within(deadline_s, ask_all(_worth_asking(network), name, clock), unasked, lambda: told("dns")),
        _within(deadline_s, _plain_web(address), (None, ""), lambda: told("portal")),
        _within(deadline_s, _relay(address, remembered, measures, clock), (None, None), lambda: told("relay")),
    )
    if relay is not None and relay.date is None and (date := read_date(web[1])) is not None:
        relay = msgspec.structs.replace(relay, date=date, asked_at=clock.now())
    return msgspec.structs.replace(
        seen,
        gateways=gateways,
        router=router,
        name_servers=name_servers,
        web=web[0],
        proxy=proxy,
        relay=relay,
        duplicates=duplicates,
    )


async def _within(deadline_s: float, probe: Awaitable[T], default: T, done: Callable[[], None]) -> T:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(deadline_s):
            default = await probe
    done()
    return default


async def _plain_web(address: RelayAddress | None) -> tuple[Web | None, str]:
    if address is None or address.proxy is not None:
        return None, ""
    return await ask_plainly(address.host)


async def _relay(
    address: RelayAddress | None, remembered: Sequence[str], measures: int, clock: Clock
) -> tuple[Proxy | None, Relay | None]:
    if address is None:
        return None, None
    if address.proxy is not None:
        return await look_through_proxy(address, clock)
    return None, await look_at_relay(address, remembered, clock, measures=measures)


def _worth_asking(network: Network) -> tuple[str, ...]:
    """Each server that this machine asks, the one on it left out where it only passes questions on."""
    return tuple(dict.fromkeys(server for server in network.dns_servers if server != network.dns_stub))


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
