"""Organisations, and their charters and policies in the order in which they were accepted."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from protocol.codec import MAX_DOCUMENT_BYTES, decode, encode
from protocol.ids import DeviceId, OrganisationId, Sha256, sha256
from protocol.statement import Signed
from relay.store.tables import devices, documents, organisations

MAX_SIGNED_BYTES = 2 * MAX_DOCUMENT_BYTES
"""The JSON of a Signed whose payload is as large as it may be: base64 adds a third."""

CHARTER, POLICY = "charter", "policy"

POLICIES_KEPT = 64
"""Of an organisation. Older ones are of use only as a charter's policy_base, and are then published again."""


class Document(msgspec.Struct, frozen=True):
    """kind: CHARTER or POLICY.  sha256: of the payload.  blob: of the JSON of the Signed."""

    kind: str
    epoch: int
    number: int
    sha256: Sha256
    blob: Sha256
    signed: Signed


def read_signed(data: bytes) -> Signed:
    return decode(data, Signed, limit=MAX_SIGNED_BYTES)


def make_document(kind: str, signed: Signed, *, epoch: int, number: int) -> Document:
    return Document(kind, epoch, number, sha256(signed.payload), sha256(encode(signed)), signed)


def add_organisation(connection: Connection, organisation: OrganisationId, now: float) -> bool:
    """Whether it is new here."""
    if has_organisation(connection, organisation):
        return False
    connection.execute(insert(organisations).values(id=organisation, added_at=int(now)))
    return True


def has_organisation(connection: Connection, organisation: OrganisationId) -> bool:
    query = select(organisations.c.id).where(organisations.c.id == organisation)
    return (connection.execute(query)).first() is not None


def list_organisations(connection: Connection) -> list[tuple[OrganisationId, int, int]]:
    """Each with the number of its devices and of its latest charter (0: none yet)."""
    count = (
        select(func.count()).select_from(devices).where(devices.c.organisation == organisations.c.id).scalar_subquery()
    )
    charter = (
        select(func.coalesce(func.max(documents.c.number), 0))
        .where(documents.c.organisation == organisations.c.id, documents.c.kind == CHARTER)
        .scalar_subquery()
    )
    rows = connection.execute(select(organisations.c.id, count, charter).order_by(organisations.c.id))
    return [(OrganisationId(id_), int(n), int(number)) for id_, n, number in rows]


def all_documents(connection: Connection, organisation: OrganisationId) -> list[Document]:
    """In the order of their acceptance: replaying them gives what is in force."""
    query = select(documents).where(documents.c.organisation == organisation).order_by(documents.c.sequence)
    return [
        Document(row.kind, row.epoch, row.number, Sha256(row.sha256), Sha256(row.blob), read_signed(row.signed))
        for row in connection.execute(query)
    ]


def add_document(connection: Connection, organisation: OrganisationId, document: Document, now: float) -> None:
    """Keep a document that was accepted now; if it was accepted before (a policy base), it is the newest again."""
    this = (documents.c.kind == document.kind) & (documents.c.sha256 == document.sha256)
    connection.execute(delete(documents).where(documents.c.organisation == organisation, this))
    latest = select(func.coalesce(func.max(documents.c.sequence), 0)).where(documents.c.organisation == organisation)
    sequence = (connection.execute(latest)).scalar_one() + 1
    connection.execute(
        insert(documents).values(
            organisation=organisation,
            kind=document.kind,
            epoch=document.epoch,
            number=document.number,
            sha256=document.sha256,
            blob=document.blob,
            signed=encode(document.signed),
            sequence=sequence,
            accepted_at=int(now),
        )
    )
    if document.kind == POLICY:
        _drop_old_policies(connection, organisation)


def _drop_old_policies(connection: Connection, organisation: OrganisationId) -> None:
    """All but the newest POLICIES_KEPT: whoever holds a policy key could fill the disk for everybody."""
    policies = (documents.c.organisation == organisation) & (documents.c.kind == POLICY)
    newest = select(documents.c.sequence).where(policies).order_by(documents.c.sequence.desc())
    last = connection.execute(newest.offset(POLICIES_KEPT).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(documents).where(policies, documents.c.sequence <= last))


def document_blob(connection: Connection, organisation: OrganisationId, blob: Sha256) -> bytes | None:
    """The charter or policy whose Signed has this hash, as JSON."""
    query = select(documents.c.signed).where(documents.c.organisation == organisation, documents.c.blob == blob)
    row = (connection.execute(query)).first()
    return None if row is None else bytes(row.signed)


def mark_revoked(connection: Connection, organisation: OrganisationId, revoked: frozenset[DeviceId]) -> None:
    """Make `devices.revoked` what the policy in force says."""
    held = select(devices.c.id).where(devices.c.organisation == organisation, devices.c.revoked.is_(True))
    before = {DeviceId(id_) for (id_,) in connection.execute(held)}
    for ids, value in ((revoked - before, True), (before - revoked, False)):
        ordered = sorted(ids)
        for start in range(0, len(ordered), 500):
            connection.execute(
                update(devices)
                .where(devices.c.organisation == organisation, devices.c.id.in_(ordered[start : start + 500]))
                .values(revoked=value)
            )
