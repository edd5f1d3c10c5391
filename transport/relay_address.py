"""Where a relay is, how it is trusted and by which way it is reached: `https://host:port`, a pin, a proxy. Pure.

The same address serves HTTP and WebSocket. `dialled_name` is what a device or technician signs as "the relay as I
dialled it", so that a hostile relay cannot pass another's challenge on; therefore one spelling, and one only.
"""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from protocol.errors import ConfigInvalid
from protocol.text import escape
from transport.hosts import join_port, parse_host
from transport.proxy import Proxy

DEFAULT_PORT = 443

MAX_URL_CHARS = 300
"""A name has at most 253 characters."""

PIN_PREFIX = "sha256:"

_URL = re.compile(r"https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?")
_PIN = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HINT = "A relay's address looks like https://relay.example:443"


class RelayAddress(msgspec.Struct, frozen=True):
    """One relay. Made by `parse_address`, or by transport.ways where there may be a proxy.

    host: lower case; a name (ASCII, international ones in their xn-- form) or an IP address without brackets.
    pin: "sha256:" and the hex SHA-256 of its certificate's SubjectPublicKeyInfo (DER); None: WebPKI, by name.
    proxy: through which it is dialled; None: directly. TLS, and so the pin, is the relay's own either way.
    """

    host: str
    port: int
    pin: str | None = None
    proxy: Proxy | None = None

    @property
    def dialled_name(self) -> str:
        """`host:port`, as it goes into link and login statements."""
        return join_port(self.host, self.port)

    @property
    def url(self) -> str:
        return f"https://{self.dialled_name}"


def parse_address(url: str, pin: str | None = None) -> RelayAddress:
    """Return the relay at `url`, from an argument, a join token or a policy.

    Raises ConfigInvalid (bad_relay_address, bad_pin), and nothing else, whatever the text is.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_URL_CHARS else None
    if found is None:
        _refuse(url)
    host, port_text = parse_host(found.group(1)), found.group(2)
    port = int(port_text) if port_text else DEFAULT_PORT
    if host is None or not 1 <= port <= 65535:
        _refuse(url)
    return RelayAddress(host, port, _checked_pin(pin))


def _checked_pin(pin: str | None) -> str | None:
    if pin is None:
        return None
    text = pin.strip().lower() if len(pin) <= 200 else ""
    if not _PIN.match(text):
        raise ConfigInvalid(
            "not a relay's pin",
            code="bad_pin",
            hint="A pin is `sha256:` and 64 hexadecimal digits; `auxilio-relay init` prints it.",
        )
    return text


def _refuse(url: str) -> NoReturn:
    raise ConfigInvalid(f"not a relay's address: {escape(url, limit=80)}", code="bad_relay_address", hint=_HINT)
