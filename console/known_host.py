"""`auxilio known-host HOST TYPE KEY`: stock ssh's KnownHostsCommand. A device's id is its key's hash.

A HOST that is no id is what the name was resolved to: ssh starts its ProxyCommand first, and `auxilio proxy` has
remembered it before a byte of the device's arrives.

ssh calls it twice: to learn which types to prefer (KEY is NONE then), and with the key that the host showed. A line
on standard output vouches for that key. Any other key gets silence, and ssh refuses without a question. Offline.
"""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from console.device_name import parse_device_name
from protocol.errors import UsageInvalid
from protocol.ids import DeviceId, device_id
from protocol.text import escape

if TYPE_CHECKING:
    from console.home import Home
    from console.remembered_names import RememberedNames

KEY_TYPE = "ssh-ed25519"
KEY_BYTES = 51
KEY_BEGIN = b"\0\0\0\x0bssh-ed25519\0\0\0 "
"""Of a key's wire format (RFC 8709, section 4), before its 32 bytes. ssh waits for this program in every connection:
for a host that is an id it imports no parser of keys, no codec, and nothing of the console's home."""

NO_KEY = "NONE"

HELP = """usage: auxilio known-host HOST TYPE KEY

For ssh's KnownHostsCommand: prints a known_hosts line if KEY (base64) is the key of the device HOST.
Example: KnownHostsCommand auxilio known-host %H %t %K   (`auxilio ssh-config` writes it)
Exit status: 0 whether or not the key is the device's; 2 for wrong arguments.
"""


def main(home: Callable[[], Home], arguments: Sequence[str]) -> int:
    """home: asked for where the host is a name."""
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(HELP)
        return 0
    if len(arguments) != 3:
        raise UsageInvalid("known-host takes HOST, TYPE and KEY", hint="auxilio known-host --help")
    host, key_type, key = arguments
    line = known_host_line(host, key_type, key, lambda: _names(home))
    if line is not None:
        sys.stdout.write(line + "\n")
    elif key not in (NO_KEY, ""):
        print(f"auxilio: this is not the key of {escape(host, limit=80)}: something pretends to be it", file=sys.stderr)
    return 0


def known_host_line(host: str, key_type: str, key: str, names: Callable[[], RememberedNames]) -> str | None:
    """The known_hosts line for `key` (base64) if it is the device's that `host` names.

    Raises ConfigInvalid where the name's file is damaged; ssh refuses then, too.
    """
    wanted = _device(host, names)
    try:
        blob = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    is_key = key_type == KEY_TYPE and blob.startswith(KEY_BEGIN) and len(blob) == KEY_BYTES
    if not is_key or device_id(blob) != wanted:
        return None
    # The host as ssh asked for it: it compares the line's name with that.
    return f"{host} {key_type} {key}"


def _names(home: Callable[[], Home]) -> RememberedNames:
    from console.remembered_names import RememberedNames

    return RememberedNames(home())


def _device(host: str, names: Callable[[], RememberedNames]) -> DeviceId | None:
    if any(character.isspace() for character in host):
        return None  # ssh asks for no such host; and the line that we print is one
    try:
        name = parse_device_name(host.removeprefix("[").split("]", 1)[0])
    except UsageInvalid:
        return None
    return name.id or names().device(name.text)
