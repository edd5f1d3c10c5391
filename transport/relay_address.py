"""Where a relay is and how it is trusted: `https://host:port` and a pin. Pure.

The same address serves HTTP and WebSocket. `dialled_name` is what a device or technician signs as "the relay as I
dialled it", so that a hostile relay cannot pass another's challenge on; therefore one spelling, and one only.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NoReturn

import msgspec

from protocol.errors import ConfigInvalid
from protocol.text import escape

DEFAULT_PORT = 443

MAX_URL_CHARS = 300
"""A name has at most 253 characters."""

PIN_PREFIX = "sha256:"

_URL = re.compile(r"https://(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([0-9]{1,5}))?/?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_PIN = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HINT = "A relay's address looks like https://relay.example:443"


class RelayAddress(msgspec.Struct, frozen=True):
    """One relay. Made by `parse_address`.

    host: lower case; a name (ASCII, international ones in their xn-- form) or an IP address without brackets.
    pin: "sha256:" and the hex SHA-256 of its certificate's SubjectPublicKeyInfo (DER); None: WebPKI, by name.
    """

    host: str
    port: int
    pin: str | None = None

    @property
    def dialled_name(self) -> str:
        """`host:port`, as it goes into link and login statements."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

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
    ip, name, port_text = found.groups()
    port = int(port_text) if port_text else DEFAULT_PORT
    if not 1 <= port <= 65535:
        _refuse(url)
    return RelayAddress(_ip_host(ip, url) if ip else _name_host(name.lower(), url), port, _checked_pin(pin))


def _ip_host(text: str, url: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        _refuse(url)


def _name_host(name: str, url: str) -> str:
    """A name of DNS, or an IPv4 address in its one canonical form (so not 127.1 or 0x7f000001)."""
    labels = name.removesuffix(".").split(".")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            _refuse(url)
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        _refuse(url)
    return ".".join(labels)


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
