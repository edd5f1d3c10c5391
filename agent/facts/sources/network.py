"""Sources on the network: interfaces, the way out, and who answers for names."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from pathlib import Path
from typing import Any

from agent.facts.parsers.kernel import parse_ipv4_routes, parse_ipv6_routes
from agent.facts.parsers.resolv_conf import ResolvConf, parse_resolv_conf
from agent.facts.source import LINUX, Missing, Source, fit_text
from agent.facts.sources.files import read_line, read_text
from protocol.sections.network import Interface, Route

NET = Path("/sys/class/net")
RESOLV_CONF = Path("/etc/resolv.conf")
UPSTREAM = (Path("/run/systemd/resolve/resolv.conf"), Path("/run/NetworkManager/no-stub-resolv.conf"))
"""Where a resolver on this machine writes whom it asks: systemd-resolved, NetworkManager with dnsmasq."""

ARPHRD_LOOPBACK = "772"
IFNAME_CHARS = 64
"""Linux allows 15 bytes; Windows' names are sentences."""

MAX_INTERFACES = 256
MAX_ADDRESSES = 64
SPEED_UNKNOWN = 65535
"""What the kernel's older drivers say for "unknown": -1 in 16 bits."""


def _resolv_conf() -> ResolvConf:
    return parse_resolv_conf(read_text(RESOLV_CONF))


def _upstream() -> ResolvConf:
    path = next((path for path in UPSTREAM if path.exists()), None)
    if path is None:
        raise Missing("the resolver on this machine does not say whom it asks")
    return parse_resolv_conf(read_text(path))


def _ipv4_routes() -> tuple[Route, ...]:
    return parse_ipv4_routes(read_text("/proc/net/route"), sys.byteorder)


def _ipv6_routes() -> tuple[Route, ...]:
    if not os.path.exists("/proc/net/ipv6_route"):
        return ()  # a kernel without IPv6 has no default route in it
    return parse_ipv6_routes(read_text("/proc/net/ipv6_route"))


def _interfaces() -> tuple[Interface, ...]:
    """All but the ports of a bridge that are virtual themselves: ends of containers' and virtual machines' cables,
    which have no address and come and go with them."""
    import psutil

    addresses: dict[str, list[Any]] = psutil.net_if_addrs()
    states = psutil.net_if_stats()
    names = [name for name in sorted(set(addresses) | set(states)) if not _is_cable_end(name)]
    return tuple(_interface(name, addresses.get(name, []), states.get(name)) for name in names[:MAX_INTERFACES])


def _is_cable_end(name: str) -> bool:
    folder = NET / name
    return (folder / "master").exists() and not (folder / "device").exists()


def _interface(name: str, addresses: list[Any], state: Any) -> Interface:
    speed = state.speed if state else 0
    return Interface(
        name=fit_text(name, IFNAME_CHARS),
        kind=_kind(name),
        up=bool(state and state.isup),
        mac=next((mac for mac in map(_mac, addresses) if mac), ""),
        mtu=state.mtu if state and state.mtu >= 0 else None,
        speed_mbps=speed if 0 < speed != SPEED_UNKNOWN else None,
        addresses=tuple(sorted(filter(None, map(_address, addresses))))[:MAX_ADDRESSES],
    )


def _mac(entry: Any) -> str:
    if entry.family not in (getattr(socket, "AF_PACKET", None), getattr(socket, "AF_LINK", None), -1):
        return ""
    mac = str(entry.address).lower().replace("-", ":")[:IFNAME_CHARS]
    return mac if mac.strip("0:") else ""  # all zero: the loopback's, which is none


def _address(entry: Any) -> str:
    """With prefix length where it is known; "" for what is no IP address."""
    if entry.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    try:
        address = ipaddress.ip_address(str(entry.address).partition("%")[0])
        if not entry.netmask:
            return str(address)
        mask = int(ipaddress.ip_address(entry.netmask))
    except ValueError:
        return ""
    return f"{address}/{mask.bit_count()}"


def _kind(name: str) -> str:
    folder = NET / name
    if not folder.exists():
        return ""
    if read_line(folder / "type") == ARPHRD_LOOPBACK:
        return "loopback"
    if (folder / "wireless").exists() or (folder / "phy80211").exists():
        return "wifi"
    if "DEVTYPE=wwan" in read_line(folder / "uevent").splitlines() or name.startswith("wwan"):
        return "cellular"
    return "ethernet" if (folder / "device").exists() else "virtual"


INTERFACES = Source(name="interfaces", ask=_interfaces)
IPV4_ROUTES = Source(name="ipv4_routes", ask=_ipv4_routes, platforms=LINUX)
IPV6_ROUTES = Source(name="ipv6_routes", ask=_ipv6_routes, platforms=LINUX)
RESOLVER = Source(name="resolv_conf", ask=_resolv_conf, platforms=frozenset({"linux", "darwin"}))
RESOLVER_UPSTREAM = Source(name="dns_upstream", ask=_upstream, platforms=LINUX)
