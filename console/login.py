"""Logging in: a signed answer to the relay's challenge, and the token that it gives for a while.

The signature names the organisation and the relay as we dialled it, so no other relay can use it. Nothing is signed
while our clock and the relay's differ by more than five minutes: one of them is wrong, and dates get signed.
"""

from __future__ import annotations

import hashlib

from console.home import Home
from console.identity import Identity, keep_certificate, successor
from console.keys import statement_signer
from console.passphrase import Passphrases
from console.relay_client import Relay
from protocol.codec import Record, encode
from protocol.errors import Refused
from protocol.login import LoginStatement
from protocol.statement import LOGIN, CertificateRules, seal_statement
from transport.relay_address import RelayAddress

MAX_CLOCK_DIFFERENCE_S = 300.0

FRESH_S = 60
"""A token that ends within a minute is not worth starting with."""


class Token(Record, frozen=True, kw_only=True):
    """bearer: of `relay` ("host:port"), for the certificate with this serial.  expires_at: Unix seconds."""

    relay: str
    serial: int
    bearer: str
    expires_at: int
    scope: str


def check_clock(relay_time: float, now: float) -> None:
    """Both Unix seconds. Raises Refused (clock_differs)."""
    difference_s = now - relay_time
    if abs(difference_s) > MAX_CLOCK_DIFFERENCE_S:
        way = "ahead of" if difference_s > 0 else "behind"
        raise Refused(
            f"this clock is {abs(difference_s) / 60:.0f} minutes {way} the relay's: nothing is signed",
            code="clock_differs",
            hint="Set this machine's clock; if it is right, the relay's operator has to set theirs.",
        )


def cached_token(home: Home, address: RelayAddress, identity: Identity, now: float) -> Token | None:
    """A token for this relay and certificate that is good for a while yet."""
    token = home.read_record(_file(address), Token)
    if token is None or token.relay != address.dialled_name or token.serial != identity.certificate.serial:
        return None
    return token if token.expires_at - now > FRESH_S and token.scope == "full" else None


async def log_in(
    home: Home, relay: Relay, identity: Identity, rules: CertificateRules, passphrases: Passphrases, now: float
) -> Token:
    """Sign the relay's challenge, keep the token, and take a newer certificate out of the mailbox.

    Raises Refused (clock_differs, or the relay's no), and what keys and the network raise.
    """
    challenge = await relay.login_nonce()
    check_clock(challenge.time, now)
    statement = LoginStatement(
        organisation=relay.organisation,
        relay=relay.address.dialled_name,
        nonce=challenge.nonce,
        issued_at=int(now),
    )
    signer = statement_signer(identity.key, identity.certificate.blob, passphrases)
    answer = await relay.login(seal_statement(signer, LOGIN, encode(statement)))
    if answer.certificate is not None:
        take_mail(home, answer.certificate, identity, rules, now)
    token = Token(
        relay=relay.address.dialled_name,
        serial=identity.certificate.serial,
        bearer=answer.token,
        expires_at=answer.expires_at,
        scope=answer.scope,
    )
    home.write_record(_file(relay.address), token)
    relay.client.bearer = token.bearer
    return token


def take_mail(home: Home, line: str, identity: Identity, rules: CertificateRules, now: float) -> bool:
    """Keep what the mailbox held, if it takes our certificate's place; whether it does. Raises as successor."""
    certificate = successor(line, identity, rules, now)
    if certificate is not None:
        keep_certificate(home, certificate)
    return certificate is not None


def _file(address: RelayAddress) -> str:
    return f"logins/{hashlib.sha256(address.dialled_name.encode()).hexdigest()[:16]}.json"
