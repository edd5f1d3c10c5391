"""The include that lets stock ssh reach devices: `ssh admin@k3m7x-....auxilio`. Pure text.

No known_hosts file, no question, no borrowed ssh-agent: the host key is checked against the name, and the device is
never handed anything of the technician's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

from protocol.errors import ConfigInvalid, UsageInvalid

LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,30}\Z")

MARK = "# Written by `auxilio ssh-config`; it writes the file anew, so changes belong elsewhere."


class Include(msgspec.Struct, frozen=True):
    """command: how this console is started, as words.  key: file name of the technician's key, or of its .pub.

    label: "" for hosts ID.auxilio; else ID.LABEL.auxilio, so that several organisations live side by side.
    account: what ssh logs in as where no user is named.
    """

    command: Sequence[str]
    key: str
    account: str
    label: str = ""


def render(include: Include) -> str:
    """Raises UsageInvalid (label), ConfigInvalid where a path cannot be written down for ssh."""
    if include.label and not LABEL.match(include.label):
        raise UsageInvalid("a label is of small letters, digits and hyphens", hint="--label clinic")
    # Without a label: one label before the suffix alone, so that the includes of other organisations are not hidden.
    host = f"*.{include.label}.auxilio" if include.label else "*.auxilio !*.*.auxilio"
    command = " ".join(_word(word) for word in include.command)
    # A shell reads this line; ssh refuses names with a quote in them since 9.6, and we do not rely on that alone.
    mark = '"' if os.name == "nt" else "'"
    return f"""{MARK}
Host {host}
    User {include.account}
    ProxyCommand {command} proxy {mark}%n{mark} --account {mark}%r{mark}
    KnownHostsCommand {command} known-host %H %t %K
    UserKnownHostsFile none
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
    UpdateHostKeys no
    VerifyHostKeyDNS no
    HostKeyAlgorithms ssh-ed25519
    CanonicalizeHostname no
    CheckHostIP no
    IdentityFile {_quoted(include.key)}
    IdentitiesOnly yes
    CertificateFile none
    PreferredAuthentications publickey
    ForwardAgent no
    ForwardX11 no
    PermitLocalCommand no
    ServerAliveInterval 0
"""


def _word(word: str) -> str:
    """A word of a command that ssh hands to a shell (ProxyCommand) or splits itself (KnownHostsCommand).

    Both read double quotes alike; neither needs them for a plain path.
    """
    if re.fullmatch(r"[A-Za-z0-9_./@:+,=-]+", word):
        return word
    return _quoted(word)


def _quoted(text: str) -> str:
    if re.search(r'["\\$`%\n\r\t]', text) or not text.isprintable():
        raise ConfigInvalid(
            "ssh's configuration cannot hold this path",
            code="bad_path",
            hint="Install Auxilio, or keep the key, where the path has no quotes, $, `, % or backslashes.",
        )
    return f'"{text}"'
