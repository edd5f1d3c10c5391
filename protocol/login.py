"""How a device's link and a technician's console prove who they are to a relay.

Both sign a nonce of the relay together with the organisation and the relay's name *as they dialled it*. A hostile
relay that passes another relay's nonce on gets a signature that names itself, which the other relay refuses.
"""

from __future__ import annotations

from protocol.codec import Strict
from protocol.errors import Refused
from protocol.ids import OrganisationId

NONCE_BYTES = 32

MAX_STATEMENT_AGE_S = 300
"""How far a statement's `issued_at` may be from the relay's clock, either way, where clocks are trusted at all."""


class LinkStatement(Strict, frozen=True, kw_only=True):
    """Signed by the device key in `link@auxilio`.

    relay: "host:port" as dialled, lower case.  nonce: base64url of the Challenge.
    device_key: public line.  issued_at: by the device's clock, which may be wrong; the nonce carries freshness.
    """

    organisation: OrganisationId
    relay: str
    nonce: str
    device_key: str
    issued_at: int


class LoginStatement(Strict, frozen=True, kw_only=True):
    """Signed by a technician's certified key in `login@auxilio`. Fields as in LinkStatement."""

    organisation: OrganisationId
    relay: str
    nonce: str
    issued_at: int


def check_audience(
    statement: LinkStatement | LoginStatement, *, organisation: OrganisationId, names: frozenset[str], nonce: str
) -> None:
    """Refuse a statement that was made for another organisation, relay or occasion.

    names: every "host:port" by which this relay may be dialled.
    Raises Refused with code wrong_organisation, wrong_relay or wrong_nonce.
    """
    if statement.organisation != organisation:
        raise Refused("the signature is for another organisation", code="wrong_organisation")
    if statement.relay not in names:
        raise Refused(
            f"the signature is for the relay {statement.relay[:80]!r}, not for this one",
            code="wrong_relay",
            hint="The relay's operator lists its names under [server] names in its configuration.",
        )
    if statement.nonce != nonce:
        raise Refused("the signature answers another challenge", code="wrong_nonce")
