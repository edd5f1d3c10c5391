"""Technicians at the relay: their logins, and the mailbox from which they fetch renewed certificates."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, insert, select

from protocol.ids import OrganisationId
from relay.store.tables import logins, mailbox

MAX_LOGINS_PER_TECHNICIAN = 64
"""Consoles and scripts of one person; a further login forgets the oldest."""


class LoginRow(msgspec.Struct, frozen=True):
    """certificate: blob.  scope: full or mailbox.  relay: our name as the console dialled it."""

    organisation: OrganisationId
    technician: str
    certificate: bytes
    scope: str
    relay: str
    expires_at: int


def add_login(connection: Connection, token: str, login: LoginRow, now: float) -> None:
    """token: SHA-256 of the bearer token, in hexadecimal."""
    connection.execute(
        insert(logins).values(
            organisation=login.organisation,
            token=token,
            technician=login.technician,
            certificate=login.certificate,
            scope=login.scope,
            relay=login.relay,
            created_at=int(now),
            expires_at=login.expires_at,
        )
    )
    theirs = (logins.c.organisation == login.organisation) & (logins.c.technician == login.technician)
    query = (
        select(logins.c.token)
        .where(theirs)
        .order_by(logins.c.created_at.desc(), logins.c.expires_at.desc())
        .offset(MAX_LOGINS_PER_TECHNICIAN)
    )
    old = [token_ for (token_,) in connection.execute(query)]
    if old:
        connection.execute(delete(logins).where(logins.c.token.in_(old)))


def find_login(connection: Connection, token: str) -> LoginRow | None:
    """The one query that does not take the organisation: the token is what says it."""
    row = (connection.execute(select(logins).where(logins.c.token == token))).first()
    if row is None:
        return None
    return LoginRow(
        OrganisationId(row.organisation), row.technician, bytes(row.certificate), row.scope, row.relay, row.expires_at
    )


def drop_expired_logins(connection: Connection, now: float) -> None:
    connection.execute(delete(logins).where(logins.c.expires_at < int(now)))


def put_mail(
    connection: Connection, organisation: OrganisationId, fingerprint: str, certificate: str, valid_before: int
) -> None:
    """Leave a certificate for whoever holds the key, in the place of any that waits."""
    this = (mailbox.c.organisation == organisation) & (mailbox.c.fingerprint == fingerprint)
    connection.execute(delete(mailbox).where(this))
    connection.execute(
        insert(mailbox).values(
            organisation=organisation, fingerprint=fingerprint, certificate=certificate, valid_before=valid_before
        )
    )


def find_mail(connection: Connection, organisation: OrganisationId, fingerprint: str) -> tuple[str, int] | None:
    """The certificate that waits, a public line, and until when it is valid."""
    query = select(mailbox.c.certificate, mailbox.c.valid_before).where(
        mailbox.c.organisation == organisation, mailbox.c.fingerprint == fingerprint
    )
    row = (connection.execute(query)).first()
    return None if row is None else (row.certificate, row.valid_before)
