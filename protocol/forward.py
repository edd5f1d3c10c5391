"""Port-forward targets: how a policy writes them, what they permit, and addresses that no policy opens. Pure.

A target is HOST:PORT. HOST: a name, `*.example.org`, an address, a network (`192.168.1.0/24`, `[fd00::/8]`), `*`, or
one of two names of ours: `localhost` is the device itself, `gateway` its default gateway, where a customer's modem or
router usually has its page. PORT: a number, `8000-8099`, or `*`. What a technician asks for is a host and a port; what
is judged is that *and* the address that is about to be connected to, so that a name which resolves to something else
leads nowhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

import msgspec

from protocol.errors import UsageInvalid

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

GATEWAY = "gateway"
LOCALHOST = "localhost"
MAX_HOST_CHARS = 253
MAX_TARGETS = 256
MAX_PORT = 65535

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\Z")

METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd20:ce::254")
)
"""Where clouds hand a machine its credentials: AWS, Google, Azure and most others at the first; AWS by IPv6; Azure's
wire server; Alibaba; Oracle's old one; Google by IPv6. From their documentation."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


class Target(msgspec.Struct, frozen=True):
    """One entry of a policy's `forward`. name: of a host, as it is asked for; network: of addresses; neither: any host.

    ports: first and last, inclusive.
    """

    name: str | None
    network: Network | None
    ports: tuple[int, int]


def parse_target(text: str) -> Target:
    """Raises UsageInvalid."""
    host, _, port = text.strip().rpartition(":")
    bare = host.lower()
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    elif ":" in bare:
        raise _invalid(text, "an IPv6 address is written in brackets: [fd00::1]:80")
    ports = _ports(port)
    if ports is None:
        raise _invalid(text, "the port is a number, a range like 8000-8099, or *")
    if bare == "*":
        return Target(None, None, ports)
    network = _network(bare)
    if network is not None:
        return Target(None, network, ports)
    if not _NAME.match(bare.removeprefix("*.")):
        raise _invalid(text, "HOST:PORT, where HOST is a name, *.name, an address, a network, *, localhost or gateway")
    return Target(bare, None, ports)


def _invalid(text: str, hint: str) -> UsageInvalid:
    return UsageInvalid(f"not a target for forwards: {text[:80]!r}", hint=hint)


def _ports(text: str) -> tuple[int, int] | None:
    if text == "*":
        return 1, MAX_PORT
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    if not all(n.isascii() and n.isdigit() and len(n) <= 5 for n in numbers):
        return None
    low, high = int(numbers[0]), int(numbers[1])
    return (low, high) if 1 <= low <= high <= MAX_PORT else None


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def asked_host(text: str) -> str:
    """The host of a request, in the one form in which it is compared. Raises UsageInvalid for what is none."""
    bare = text.strip().lower().removesuffix(".")
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    address = literal(bare)
    if address is not None:
        return str(address)
    if not _NAME.match(bare):
        raise UsageInvalid("not the name or address of a host", hint="A name, an address, localhost or gateway.")
    return bare


def literal(host: str) -> Address | None:
    """The address that `host` is, or None where it is a name. A zone (fe80::1%eth0) is no part of an address here."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def could_permit(targets: Iterable[Target], host: str, port: int) -> bool:
    """Whether any target may permit `host` (see asked_host), whatever it resolves to: nothing is resolved otherwise."""
    return any(
        target.ports[0] <= port <= target.ports[1]
        and (
            target.name is None or _named(target.name, host) or (target.name == LOCALHOST and literal(host) is not None)
        )
        for target in targets
    )


def permits(targets: Sequence[Target], host: str, port: int, address: Address) -> bool:
    """Whether `host`:`port` may be connected to at `address`, to which it was resolved.

    A name leads to the device itself (a loopback address) only where the policy says `localhost`, `*` or the address:
    who owns a name in the DNS chooses what it resolves to.
    """
    plain = unwrapped(address)
    return any(target.ports[0] <= port <= target.ports[1] and _permits(target, host, plain) for target in targets)


def _permits(target: Target, host: str, address: Address) -> bool:
    if target.network is not None:
        return address.version == target.network.version and address in target.network
    if target.name is None:
        return True
    if target.name == LOCALHOST:
        return address.is_loopback and (host == LOCALHOST or literal(host) is not None)
    return _named(target.name, host) and not address.is_loopback


def _named(name: str, host: str) -> bool:
    if name.startswith("*."):
        return literal(host) is None and host.endswith(name[1:])
    return name == host


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside of an IPv6 one (mapped, 6to4, NAT64), or `address` itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def forbidden(address: Address, *, is_gateway: bool) -> str | None:
    """Why nobody is connected to `address`, whatever the policy says; None where the policy decides.

    is_gateway: it is in the kernel's table as the default gateway, which by IPv6 has a link-local address.
    """
    plain = unwrapped(address)
    if plain in METADATA:
        return "it is where a cloud keeps its machines' credentials"
    if plain.is_unspecified:
        return "it is no host's address"
    if plain.is_multicast or plain == ipaddress.IPv4Address("255.255.255.255"):
        return "it is no single host's address"
    if plain.is_link_local and not (is_gateway and plain.version == 6):
        return "link-local addresses are not forwarded to"
    return None
