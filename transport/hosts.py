"""Names of machines as URLs have them: one spelling, and one only. Pure."""

from __future__ import annotations

import ipaddress
import re

MAX_NAME_CHARS = 253

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")


def parse_host(text: str) -> str | None:
    """The host in `text`: a name of DNS in lower case, an IPv4 address in its one canonical form (so not 127.1 or
    0x7f000001), or an IPv6 address in brackets, which are taken away. None where it is none of them."""
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    name = text.lower()
    labels = name.removesuffix(".").split(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        return _ipv4(name)
    if len(name) > MAX_NAME_CHARS or not all(_LABEL.match(label) for label in labels):
        return None
    return ".".join(labels)


def join_port(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ipv6(text: str) -> str | None:
    try:
        return str(ipaddress.IPv6Address(text)) if "%" not in text else None
    except ValueError:
        return None


def _ipv4(text: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None
