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
from collections.abc import Sequence

from console.device_name import parse_device_name
from console.home import Home
from console.remembered_names import RememberedNames
from protocol.errors import BadMessage, UsageInvalid
from protocol.ids import DeviceId, device_id
from protocol.keys import parse_public_key
from protocol.text import escape

KEY_TYPE = "ssh-ed25519"
NO_KEY = "NONE"

HELP = """usage: auxilio known-host HOST TYPE KEY

For ssh's KnownHostsCommand: prints a known_hosts line if KEY (base64) is the key of the device HOST.
Example: KnownHostsCommand auxilio known-host %H %t %K   (`auxilio ssh-config` writes it)
Exit status: 0 whether or not the key is the device's; 2 for wrong arguments.
"""


def main(home: Home, arguments: Sequence[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(HELP)
        return 0
    if len(arguments) != 3:
        raise UsageInvalid("known-host takes HOST, TYPE and KEY", hint="auxilio known-host --help")
    host, key_type, key = arguments
    line = known_host_line(host, key_type, key, RememberedNames(home))
    if line is not None:
        sys.stdout.write(line + "\n")
    elif key not in (NO_KEY, ""):
        print(f"auxilio: this is not the key of {escape(host, limit=80)}: something pretends to be it", file=sys.stderr)
    return 0


def known_host_line(host: str, key_type: str, key: str, names: RememberedNames) -> str | None:
    """The known_hosts line for `key` (base64) if it is the device's that `host` names.

    Raises ConfigInvalid where the name's file is damaged; ssh refuses then, too.
    """
    wanted = _device(host, names)
    try:
        blob = base64.b64decode(key, validate=True)
        if key_type != KEY_TYPE or parse_public_key(blob).algorithm != KEY_TYPE or device_id(blob) != wanted:
            return None
    except (BadMessage, binascii.Error, ValueError):
        return None
    # The host as ssh asked for it: it compares the line's name with that.
    return f"{host} {key_type} {key}"


def _device(host: str, names: RememberedNames) -> DeviceId | None:
    if any(character.isspace() for character in host):
        return None  # ssh asks for no such host; and the line that we print is one
    try:
        name = parse_device_name(host.removeprefix("[").split("]", 1)[0])
    except UsageInvalid:
        return None
    return name.id or names.device(name.text)
