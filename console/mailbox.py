"""The mailbox at each relay: where a renewed certificate waits until its technician's console comes by."""

from __future__ import annotations

import hashlib

from console.authority.issue import certified_key
from console.authority.ledger import IssuedCertificate
from console.authority.store import Store
from console.home import Home
from console.identity import keep_certificate
from console.keys import default_key, find_key
from console.passphrase import Passphrases
from console.settings import load_settings
from console.signed_in import Desk, Say, open_desk
from protocol.certificate import parse_certificate
from protocol.errors import AuxilioError, Refused
from protocol.keys import line_blob
from protocol.policy import Relay


async def post_or_tell(
    store: Store, home: Home, passphrases: Passphrases, say: Say, certificates: list[IssuedCertificate]
) -> AuxilioError | None:
    """Put each into its key's mailbox at every relay. What goes wrong is told; returned, where no relay has them.

    A failure is none of the certificates': they exist, and can be handed over as files.
    """
    if not certificates:
        return None
    failures, done = [], 0
    for entry in _relays(store, home):
        try:
            desk = open_desk(home, load_settings(home), entry, passphrases, say)
            async with desk.relay.client:
                await desk.ensure_login()
                posted = await _post(desk, say, certificates)
        except AuxilioError as exc:
            say(f"not in the mailbox of {entry.url}: {exc.message}")
            failures.append(exc)
            continue
        done += 1
        say(f"in the mailbox of {entry.url}: {', '.join(posted) or 'nothing'}")
    return failures[0] if failures and not done else None


async def _post(desk: Desk, say: Say, certificates: list[IssuedCertificate]) -> list[str]:
    """The names of those that the relay took. Its no to one is no reason to keep the others from theirs."""
    posted = []
    for issued in certificates:
        digest = hashlib.sha256(certified_key(issued).blob).hexdigest()
        try:
            await desk.relay.put_mail(digest, issued.certificate)
        except Refused as exc:
            say(f"{desk.relay.address.url} did not take the certificate of {issued.name}: {exc.message}")
        else:
            posted.append(issued.name)
    return posted


def _relays(store: Store, home: Home) -> tuple[Relay, ...]:
    """Those of the policy, and the one in use: technicians may come by at any."""
    in_use = load_settings(home).relays[:1]
    return tuple({entry.url: entry for entry in (*in_use, *store.policy.policy.relays)}.values())


def keep_own(home: Home, certificates: list[IssuedCertificate]) -> None:
    """An admin whose own certificate was among those that ended could not log in to bring the others'."""
    name = load_settings(home).key or default_key()
    own = find_key(name).public.blob if name is not None else None
    for issued in certificates:
        if certified_key(issued).blob == own:
            keep_certificate(home, parse_certificate(line_blob(issued.certificate)))
