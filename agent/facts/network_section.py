"""The section on the network: interfaces, the way out, and who answers for names."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

from agent.facts.parsers import parse_ipv4_routes, parse_ipv6_routes, parse_resolv_conf
from agent.facts.source import Asked, read_line, read_text
from protocol.report import Interface, Network, Route

NET = Path("/sys/class/net")
MAX_INTERFACES = 256
MAX_ADDRESSES = 64
ARPHRD_LOOPBACK = "772"


def network_section() -> Network:
    asked = Asked()
    servers, search = asked.ask("resolv_conf", lambda: parse_resolv_conf(read_text("/etc/resolv.conf")), ((), ()))
    routes = asked.ask("ipv4_routes", _ipv4_routes, ()) + asked.ask("ipv6_routes", _ipv6_routes, ())
    return Network(
        interfaces=asked.ask("interfaces", _interfaces, ()),
        default_routes=tuple(sorted(routes, key=lambda r: (r.family, r.metric, r.interface, r.gateway))),
        dns_servers=servers,
        search_domains=search,
        unavailable=asked.unavailable,
    )


def _ipv4_routes() -> tuple[Route, ...]:
    routes = parse_ipv4_routes(read_text("/proc/net/route"))
    return tuple(Route(family=4, gateway=g, interface=i, metric=m) for g, i, m in routes)


def _ipv6_routes() -> tuple[Route, ...]:
    if not os.path.exists("/proc/net/ipv6_route"):
        return ()  # a kernel without IPv6 has no default route in it
    routes = parse_ipv6_routes(read_text("/proc/net/ipv6_route"))
    return tuple(
        Route(family=6, gateway=str(ipaddress.IPv6Address(bytes.fromhex(g))) if g else "", interface=i, metric=m)
        for g, i, m in routes
    )


def _interfaces() -> tuple[Interface, ...]:
    import psutil

    addresses: dict[str, list[Any]] = psutil.net_if_addrs()
    states = psutil.net_if_stats()
    names = sorted(set(addresses) | set(states))[:MAX_INTERFACES]
    return tuple(_interface(name, addresses.get(name, []), states.get(name)) for name in names)


def _interface(name: str, addresses: list[Any], state: Any) -> Interface:
    return Interface(
        name=name,
        kind=_kind(name),
        up=bool(state and state.isup),
        mac=next((a.address.lower() for a in addresses if a.family == getattr(socket, "AF_PACKET", -1)), ""),
        mtu=state.mtu if state else None,
        speed_mbps=state.speed if state and 0 < state.speed < 65535 else None,
        addresses=tuple(sorted(filter(None, map(_address, addresses))))[:MAX_ADDRESSES],
    )


def _address(entry: Any) -> str:
    """With prefix length; "" for what is no IP address."""
    if entry.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    address = entry.address.partition("%")[0]
    if not entry.netmask:
        return str(address)
    if entry.family == socket.AF_INET:
        return f"{address}/{ipaddress.IPv4Network(f'0.0.0.0/{entry.netmask}').prefixlen}"
    return f"{address}/{bin(int(ipaddress.IPv6Address(entry.netmask))).count('1')}"


def _kind(name: str) -> str:
    folder = NET / name
    if not folder.exists():
        return ""
    if read_line(folder / "type") == ARPHRD_LOOPBACK:
        return "loopback"
    if (folder / "wireless").exists() or (folder / "phy80211").exists():
        return "wifi"
    uevent = read_line(folder / "uevent")
    if "DEVTYPE=wwan" in uevent or name.startswith("wwan"):
        return "cellular"
    return "ethernet" if (folder / "device").exists() else "virtual"
