"""What a person or ssh calls a device: its id, the beginning of its id, or its host name. Pure text; nobody is asked.

Case never matters. A text may be both a beginning and a host name ("laptop"): then both are looked up.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from protocol.errors import PeerFault, UsageInvalid
from protocol.ids import DeviceId, parse_device_id
from protocol.text import escape

HOST_SUFFIX = ".auxilio"
"""Of the hosts of `auxilio ssh-config`."""

MIN_PREFIX = 4
"""Of a shortened id: 20 bits, unique among a thousand devices nearly always."""

MAX_PREFIX = 20
"""Of a whole id, without its hyphens."""

MAX_NAME_CHARS = 128
"""Linux knows host names of 64 characters (gethostname(2)). Also what a name's file can be called anywhere."""

_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
"""RFC 1123, section 2.1, in lower case. Nothing in it that a shell, a terminal or ssh would mind."""

_PREFIX = re.compile(rf"[a-z2-7]{{{MIN_PREFIX},{MAX_PREFIX}}}\Z")


class DeviceName(NamedTuple):
    """text: in lower case, under which it is remembered; RFC 1123.  id: where it is a whole one; else
    prefix: with an id's hyphens, where it can be the beginning of one.  Every text may be a host name.
    """

    text: str
    id: DeviceId | None = None
    prefix: str | None = None

    @property
    def bare_prefix(self) -> str | None:
        return None if self.prefix is None else self.prefix.replace("-", "")

    def fits_host(self, hostname: str) -> bool:
        """Whether a device whose host name is `hostname` is called so: by the whole of it, or by its first label."""
        host = hostname.lower()
        return is_host_name(host) and self.text in (host, host.split(".", 1)[0])


def is_host_name(text: str) -> bool:
    """Of RFC 1123, in lower case. Devices with other names (spaces, underscores, escapes) are named by their ids."""
    return len(text) <= MAX_NAME_CHARS and _HOST.match(text) is not None


def without_suffix(text: str) -> str:
    """In lower case, without the suffix of ssh-config's hosts and the organisation's label before it."""
    bare = text.strip().lower()
    return bare.split(".", 1)[0] if bare.endswith(HOST_SUFFIX) else bare


def parse_device_name(text: str) -> DeviceName:
    """Raises UsageInvalid."""
    name = without_suffix(text)
    try:
        device = parse_device_id(name)
    except PeerFault:
        pass
    else:
        return DeviceName(device, id=device)
    if not is_host_name(name):
        raise UsageInvalid(
            f"not a device: {escape(text, limit=60)!r}",
            hint="Give its id, at least the first four characters of it, or its host name; `auxilio devices` lists"
            " them. A device with an unusual host name is named by its id.",
        )
    bare = name.replace("-", "")
    if "." in name or not _PREFIX.match(bare):
        return DeviceName(name)
    return DeviceName(name, prefix="-".join(bare[i : i + 5] for i in range(0, len(bare), 5)))
