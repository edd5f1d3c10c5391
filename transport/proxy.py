"""Which proxy a relay is dialled through, by a setting of ours or by the environment. Pure.

    a setting           "direct", or a proxy's URL: holds for every relay, whatever the environment says
    the environment     HTTPS_PROXY, then ALL_PROXY, unless NO_PROXY names the relay; small letters before capitals

A proxy is `http://[user:password@]host[:port]` (CONNECT, RFC 9110 section 9.3.6) or `socks5://...` (RFC 1928); the
relay's name is resolved by the proxy in both. Credentials stay out of every message, log and repr.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal, NoReturn

import msgspec

from protocol.errors import ConfigInvalid
from transport.hosts import join_port, parse_host

Scheme = Literal["http", "socks5"]

DIRECT = "direct"
"""The setting that uses no proxy, even if the environment names one."""

PORTS = {"http": 80, "socks5": 1080}

MAX_URL_CHARS = 2048
MAX_CREDENTIAL_BYTES = 255
"""Of the user and of the password, in UTF-8: what RFC 1929 has room for."""

MAX_NO_PROXY_CHARS = 16 * 1024

VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""In the order in which they count, as for curl."""

_URL = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:(.*)@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?"
)
_SCHEMES: Mapping[str, Scheme] = {"": "http", "http": "http", "socks5": "socks5", "socks5h": "socks5"}
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_HINT = "A proxy looks like http://user:password@proxy.example:3128 or socks5://proxy.example:1080."


class Proxy(msgspec.Struct, frozen=True):
    """user, password: decoded, together or not at all; a user alone has the password ""."""

    scheme: Scheme
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def url(self) -> str:
        """Without the credentials: for messages."""
        return f"{self.scheme}://{join_port(self.host, self.port)}"

    def __repr__(self) -> str:
        return f"Proxy({self.url})"


def parse_proxy(text: str, what: str = "the proxy") -> Proxy:
    """The proxy at the URL `text`; without a scheme it is an HTTP proxy, as everywhere.

    what: where it was written, for the message, which never repeats the text: it may hold a password.
    Raises ConfigInvalid (bad_proxy), and nothing else.
    """
    found = _URL.fullmatch(text) if len(text) <= MAX_URL_CHARS else None
    if found is None:
        _refuse(f"{what} is no proxy's address")
    scheme_text, credentials, host_text, port_text = found.groups()
    scheme = _SCHEMES.get((scheme_text or "").lower())
    if scheme is None:
        _refuse(f"{what} is of a kind that is not spoken here: only http:// and socks5:// are")
    host, port = parse_host(host_text), int(port_text or PORTS[scheme])
    if host is None or not 1 <= port <= 65535:
        _refuse(f"{what} is no proxy's address")
    if not credentials:
        return Proxy(scheme, host, port)
    user, _, password = credentials.partition(":")
    return Proxy(scheme, host, port, _decoded(user, what), _decoded(password, what))


def check_setting(text: str) -> str | None:
    """A setting as it is kept: a URL, "direct", or None where `text` is "environment". Raises ConfigInvalid."""
    text = text.strip()
    if text == "environment":
        return None
    if text != DIRECT:
        parse_proxy(text)
    return text


def show_setting(setting: str | None) -> str:
    """The setting without credentials."""
    if setting is None:
        return "environment"
    return setting if setting == DIRECT else parse_proxy(setting).url


def find_proxy(host: str, port: int, setting: str | None, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy through which the relay at host:port is dialled; None: directly.

    setting: as check_setting returns it.  Raises ConfigInvalid (bad_proxy), which names the variable.
    """
    if setting is not None:
        return None if setting == DIRECT else parse_proxy(setting)
    for name in VARIABLES:
        text = environment.get(name, "").strip()
        if text:
            return None if _is_exempt(host, port, environment) else parse_proxy(text, f"${name}")
    return None


def _is_exempt(host: str, port: int, environment: Mapping[str, str]) -> bool:
    """This machine itself, which no proxy could reach, or what NO_PROXY names."""
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    listed = (environment.get("no_proxy") or environment.get("NO_PROXY") or "")[:MAX_NO_PROXY_CHARS]
    return any(_matches(entry, host, address, port) for entry in re.split(r"[\s,]+", listed.lower()) if entry)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _matches(entry: str, host: str, address: _Address | None, port: int) -> bool:
    """One word of NO_PROXY, in small letters: *, a network, an address, a name and what is below it; with a port, that
    port alone. Names are not resolved for it."""
    if entry == "*":
        return True
    if address is not None and "/" in entry:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry) is None:  # else the colons are an IPv6 address's own
        found = re.fullmatch(r"(.+):([0-9]{1,5})", entry)
        if found is not None:
            if int(found.group(2)) != port:
                return False
            entry = found.group(1)
    name = entry.strip("[]").removeprefix("*").removeprefix(".").removesuffix(".")
    if address is not None:
        return _address(name) == address
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _decoded(text: str, what: str) -> str:
    """Of its percent signs (RFC 3986, section 2.1)."""
    data = _PERCENT.sub(lambda found: bytes([int(found.group(1), 16)]), text.encode("utf-8", "replace"))
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError:
        _refuse(f"the user or password of {what} is no text")
    if len(data) > MAX_CREDENTIAL_BYTES or any(ord(letter) < 32 or ord(letter) == 127 for letter in decoded):
        _refuse(f"the user or password of {what} cannot be one")
    return decoded


def _refuse(message: str) -> NoReturn:
    raise ConfigInvalid(message, code="bad_proxy", hint=_HINT)
