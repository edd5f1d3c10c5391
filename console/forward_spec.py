"""What `auxilio forward` is asked for, as words: [BIND:]LPORT:HOST:PORT, as ssh's -L writes it. Pure."""

from __future__ import annotations

import ipaddress

import msgspec

from protocol.errors import UsageInvalid
from protocol.forward import MAX_PORT, asked_host
from protocol.text import escape

LOOPBACK = "127.0.0.1"
HINT = "LPORT:HOST:PORT, like 8080:gateway:80; an IPv6 address in brackets; LPORT 0 takes a free port."


class Forward(msgspec.Struct, frozen=True):
    """bind, local_port: where we listen (0: any free port).  host, port: where the device connects to."""

    bind: str
    local_port: int
    host: str
    port: int

    @property
    def target(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_forward(text: str) -> Forward:
    """Raises UsageInvalid."""
    words = _words(text)
    if len(words) == 3:
        words = [LOOPBACK, *words]
    if len(words) != 4:
        raise _invalid(text)
    bind, local, host, port = words
    try:
        ipaddress.ip_address(bind)
    except ValueError:
        raise _invalid(text) from None
    return Forward(bind, _port(local, text, least=0), asked_host(host), _port(port, text, least=1))


def _words(text: str) -> list[str]:
    """Split at colons outside of brackets; the brackets go."""
    words, rest = [], text
    while rest:
        if rest.startswith("["):
            word, bracket, rest = rest[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise _invalid(text)
            rest = rest[1:]
        else:
            word, _, rest = rest.partition(":")
        words.append(word)
    return words


def _port(text: str, whole: str, *, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and least <= int(text) <= MAX_PORT):
        raise _invalid(whole)
    return int(text)


def _invalid(text: str) -> UsageInvalid:
    return UsageInvalid(f"not a forward: {escape(text, limit=80)!r}", hint=HINT)
