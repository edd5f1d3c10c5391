"""Who answers a search for gateways (UPnP Device Architecture 1.1, section 1.3): where its description is."""

from __future__ import annotations

import re

import msgspec

GATEWAY = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
"""Devices of version 2 answer to it as well."""

ROOT = "upnp:rootdevice"
MAX_REPLY_BYTES = 4096
MAX_PATH_CHARS = 512

_ABSOLUTE = re.compile(r"http://([0-9.]{7,15})(?::([0-9]{1,5}))?(/[!-~]*)?", re.IGNORECASE)
_RELATIVE = re.compile(r"[!-~]+")


class Reply(msgspec.Struct, frozen=True):
    """port, path: of the description.  is_gateway: it is that of a gateway, as far as the reply says."""

    port: int
    path: str
    is_gateway: bool = False


def search(target: str, host: str) -> bytes:
    """A question for `target`. host: of whom it is asked, the gateway's or the group's address."""
    lines = ("M-SEARCH * HTTP/1.1", f"HOST: {host}:1900", 'MAN: "ssdp:discover"', "MX: 1", f"ST: {target}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse_reply(reply: bytes, gateway: str) -> Reply | None:
    """What `gateway` names on itself; None for anything else."""
    status, *lines = reply[:MAX_REPLY_BYTES].decode("latin-1").split("\n")
    if not status.startswith("HTTP/1.1 200"):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    where = own_target(headers.get("location", ""), gateway)
    if where is None:
        return None
    return Reply(*where, ":internetgatewaydevice:" in headers.get("st", "").lower())


def own_target(url: str, gateway: str, port: int = 80) -> tuple[int, str] | None:
    """Port and path of a URL, which may be relative, if it leads to `gateway` and nowhere else.

    A router that could name any address would make this machine ask it, from inside the network, in the router's
    place. port: of a URL that names no host.
    """
    if not 0 < len(url) <= MAX_PATH_CHARS:
        return None
    if "://" not in url:
        return (port, "/" + url.lstrip("/")) if _RELATIVE.fullmatch(url) else None
    match = _ABSOLUTE.fullmatch(url)
    if match is None or match[1] != gateway:
        return None
    named = int(match[2]) if match[2] else 80
    return (named, match[3] or "/") if 0 < named < 65536 else None
