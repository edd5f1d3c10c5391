"""The mailbox at the relay: where a renewed certificate waits for its technician's next login."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from console.authority.issue import certified_key
from console.authority.ledger import IssuedCertificate
from console.home import Home
from console.passphrase import Passphrases
from console.signed_in import Say, signed_in
from protocol.errors import AuxilioError


async def post(home: Home, passphrases: Passphrases, say: Say, certificates: Iterable[IssuedCertificate]) -> None:
    """Put each into its key's mailbox. Raises what a login and the relay raise."""
    async with signed_in(home, passphrases, say) as desk:
        for issued in certificates:
            digest = hashlib.sha256(certified_key(issued).blob).hexdigest()
            await desk.relay.put_mail(digest, issued.certificate)


async def post_or_tell(
    home: Home, passphrases: Passphrases, say: Say, certificates: list[IssuedCertificate]
) -> AuxilioError | None:
    """As post; a failure is told and returned: the certificates exist, and can be handed over by file."""
    try:
        await post(home, passphrases, say, certificates)
    except AuxilioError as exc:
        say(f"not in the relay's mailbox: {exc.message}")
        return exc
    say(f"in the relay's mailbox: {', '.join(issued.name for issued in certificates)}")
    return None
