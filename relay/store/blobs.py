"""Blobs: bytes by their SHA-256, in the database, in pieces.

In the database and not in files, so that many small sections share one sync to disk (writer.py), a backup is one
file, and several nodes can share a database later. Each belongs to its organisation, and within it to whoever
uploaded it; a blob that nobody owns any more is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, select, update

from protocol.ids import OrganisationId, Sha256
from relay.store.tables import blob_owners, blob_pieces, blobs, report_sections

PIECE_BYTES = 256 * 1024
"""Read and written at once; a download holds one piece in memory, whatever the blob's size."""

UNNEEDED_AFTER_S = 6 * 3600
"""An uploaded blob that no report names is dropped after this: an agent that was cut in between goes on tomorrow."""

SWEEP_ROWS = 1000
"""Looked for at once, by a reader; the writer drops them in smaller steps."""

Ownership = tuple[OrganisationId, str, Sha256]


def owns(connection: Connection, organisation: OrganisationId, owner: str, name: Sha256) -> int | None:
    """The size of the blob, if `owner` uploaded it."""
    query = select(blob_owners.c.size).where(
        blob_owners.c.organisation == organisation, blob_owners.c.owner == owner, blob_owners.c.sha256 == name
    )
    found = (connection.execute(query)).scalar()
    return None if found is None else int(found)


def owners(connection: Connection, organisation: OrganisationId, name: Sha256) -> list[str]:
    query = select(blob_owners.c.owner).where(blob_owners.c.organisation == organisation, blob_owners.c.sha256 == name)
    return [owner for (owner,) in connection.execute(query)]


def size_of(connection: Connection, organisation: OrganisationId, name: Sha256) -> int | None:
    query = select(blobs.c.size).where(blobs.c.organisation == organisation, blobs.c.sha256 == name)
    found = (connection.execute(query)).scalar()
    return None if found is None else int(found)


def read_piece(connection: Connection, organisation: OrganisationId, name: Sha256, offset: int) -> bytes | None:
    """The bytes from `offset` to the end of the piece it lies in; None past the end."""
    query = (
        select(blob_pieces.c.position, blob_pieces.c.content)
        .where(
            blob_pieces.c.organisation == organisation,
            blob_pieces.c.sha256 == name,
            blob_pieces.c.position <= offset,
        )
        .order_by(blob_pieces.c.position.desc())
        .limit(1)
    )
    row = (connection.execute(query)).first()
    if row is None or offset - row.position >= len(row.content):
        return None
    return bytes(row.content)[offset - row.position :]


def read_whole(connection: Connection, organisation: OrganisationId, name: Sha256) -> bytes | None:
    query = (
        select(blob_pieces.c.content)
        .where(blob_pieces.c.organisation == organisation, blob_pieces.c.sha256 == name)
        .order_by(blob_pieces.c.position)
    )
    pieces = [bytes(content) for (content,) in connection.execute(query)]
    return b"".join(pieces) if pieces else None


def owned(connection: Connection, organisation: OrganisationId, owner: str) -> tuple[int, int]:
    """How many blobs `owner` has, and of how many bytes."""
    query = select(func.count(), func.coalesce(func.sum(blob_owners.c.size), 0)).where(
        blob_owners.c.organisation == organisation, blob_owners.c.owner == owner
    )
    count, size = connection.execute(query).one()
    return int(count), int(size)


def total_bytes(connection: Connection) -> dict[OrganisationId, int]:
    """Of each organisation that has any."""
    query = select(blobs.c.organisation, func.sum(blobs.c.size)).group_by(blobs.c.organisation)
    return {OrganisationId(organisation): int(size) for organisation, size in connection.execute(query)}


def keep(
    connection: Connection,
    organisation: OrganisationId,
    owner: str,
    name: Sha256,
    pieces: Iterable[bytes],
    size: int,
    now: float,
) -> None:
    """Keep what `owner` uploaded. The caller has verified that the pieces' bytes have this hash and size."""
    if owns(connection, organisation, owner, name) is not None:
        touch(connection, organisation, owner, [name], now)
        return
    if size_of(connection, organisation, name) is None:
        connection.execute(insert(blobs).values(organisation=organisation, sha256=name, size=size))
        position = 0
        for piece in pieces:
            connection.execute(
                insert(blob_pieces).values(organisation=organisation, sha256=name, position=position, content=piece)
            )
            position += len(piece)
    connection.execute(
        insert(blob_owners).values(organisation=organisation, owner=owner, sha256=name, size=size, kept_at=int(now))
    )


def touch(connection: Connection, organisation: OrganisationId, owner: str, names: list[Sha256], now: float) -> None:
    """The owner still needs these."""
    connection.execute(
        update(blob_owners)
        .where(
            blob_owners.c.organisation == organisation,
            blob_owners.c.owner == owner,
            blob_owners.c.sha256.in_(names),
        )
        .values(kept_at=int(now))
    )


def _unneeded(before: int) -> ColumnElement[bool]:
    named = exists().where(
        report_sections.c.organisation == blob_owners.c.organisation,
        report_sections.c.sha256 == blob_owners.c.sha256,
        report_sections.c.device == blob_owners.c.owner,
    )
    return and_(blob_owners.c.kept_at < before, ~named)


def unneeded(connection: Connection, before: int, since: int) -> tuple[list[Ownership], int]:
    """Up to SWEEP_ROWS ownerships that were kept before `before` and that no report of the owner's names, those kept
    longest ago first, from instant `since` on; and the instant of the last. A read: it looks at much to find little."""
    query = (
        select(blob_owners.c.organisation, blob_owners.c.owner, blob_owners.c.sha256, blob_owners.c.kept_at)
        .where(blob_owners.c.kept_at >= since, _unneeded(before))
        .order_by(blob_owners.c.kept_at)
        .limit(SWEEP_ROWS)
    )
    rows = connection.execute(query).all()
    return [(row.organisation, row.owner, row.sha256) for row in rows], rows[-1].kept_at if rows else since


def drop(connection: Connection, ownerships: Iterable[Ownership], before: int) -> int:
    """Drop those of `ownerships` that are still unneeded, and the blobs that nobody owns then; return how many."""
    dropped = 0
    for organisation, owner, name in ownerships:
        this = and_(
            blob_owners.c.organisation == organisation, blob_owners.c.sha256 == name, blob_owners.c.owner == owner
        )
        gone = connection.execute(delete(blob_owners).where(this, _unneeded(before))).rowcount
        dropped += gone
        if gone and not owners(connection, organisation, name):
            for table in (blob_pieces, blobs):
                connection.execute(delete(table).where(table.c.organisation == organisation, table.c.sha256 == name))
    return dropped
