"""Whoever begins an organisation is its first technician, if they say so: with every right, everywhere."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.authority.initialise import Plan
from console.authority.issue import DEFAULT_LIFE_S, issue_technician, parse_grant
from console.authority.store import Store
from console.home import Home
from console.identity import CERTIFICATE_FILE
from console.keys import default_key, find_key, write_key
from console.passphrase import Passphrases
from protocol.errors import ConfigInvalid
from protocol.keys import public_line
from protocol.signing import KeyRawSigner
from protocol.technician import RIGHTS

OWN_KEY = "id_ed25519"
"""In the console's home, where its owner has no key of OpenSSH's."""


def certify_founder(home: Home, store: Store, name: str, key: str | None, passphrases: Passphrases, plan: Plan) -> Path:
    """Issue the founder's certificate, for `key`, or their usual one, or a new one; return the private key's file.

    Raises UsageInvalid, ConfigInvalid, Refused.
    """
    grant = parse_grant(name, ",".join(RIGHTS), "all", ("admin", "user"), DEFAULT_LIFE_S)
    chosen = key or default_key()
    path = home.file(OWN_KEY) if chosen is None else _file(chosen)
    if chosen is None and not path.exists():
        private = Ed25519PrivateKey.generate()
        write_key(path, private, public_line(KeyRawSigner(private).public), name, plan.passphrase)
    public = find_key(str(path)).public
    issued = issue_technician(store, store.signer("technician_ca", passphrases), grant, public, plan.issued_at)
    # Where a renewed one goes, too: what lies beside a key of OpenSSH's may be for something else.
    home.write(CERTIFICATE_FILE, f"{issued.certificate} {issued.name}\n".encode())
    return path


def _file(key: str) -> Path:
    source = find_key(key)
    if source.path is None:
        raise ConfigInvalid(
            "your private key is not in a file here",
            code="no_such_key",
            hint="Without --technician; then `auxilio technician add NAME --key FILE.pub`.",
        )
    return source.path
