"""How the section on the network is made."""

from __future__ import annotations

from agent.facts.parsers.resolv_conf import ResolvConf
from agent.facts.source import Asked
from agent.facts.sources import network
from protocol.sections.network import Network, Route


def network_section(asked: Asked) -> Network:
    nothing: tuple[Route, ...] = ()
    routes = asked.ask(network.IPV4_ROUTES, nothing) + asked.ask(network.IPV6_ROUTES, nothing)
    resolver = asked.ask(network.RESOLVER, ResolvConf())
    upstream = asked.ask(network.RESOLVER_UPSTREAM, resolver) if resolver.stub else resolver
    return Network(
        interfaces=asked.ask(network.INTERFACES, ()),
        default_routes=tuple(sorted(routes, key=lambda r: (r.family, r.metric, r.interface, r.gateway))),
        dns_servers=upstream.servers,
        dns_stub=resolver.stub,
        search_domains=resolver.search,
        unavailable=asked.unavailable,
    )
