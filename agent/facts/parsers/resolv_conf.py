"""resolv.conf(5): who answers for names."""

from __future__ import annotations

import ipaddress

import msgspec

MAX_SERVERS = 16
MAX_SEARCH = 32
MAX_DOMAIN_CHARS = 256


class ResolvConf(msgspec.Struct, frozen=True):
    """servers: IP addresses in order, an IPv6 one with its zone.  search: domains."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()

    @property
    def stub(self) -> str:
        """The resolver on this very machine that it points to, where it points to nothing else; or ""."""
        here = [server for server in self.servers if ipaddress.ip_address(server).is_loopback]
        return here[0] if here and len(here) == len(self.servers) else ""


def parse_resolv_conf(text: str) -> ResolvConf:
    """Words that are no address are left out, as the resolver leaves them out. The last search line counts."""
    servers: list[str] = []
    search: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or line[0] in "#;":
            continue
        if words[0] == "nameserver" and _is_address(words[1]):
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = [word[:MAX_DOMAIN_CHARS] for word in words[1:] if word != "."]
    return ResolvConf(servers=tuple(servers[:MAX_SERVERS]), search=tuple(search[:MAX_SEARCH]))


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return len(word) < 80
