"""Sessions: who reached which device, when, for what purpose, and how it ended."""

from __future__ import annotations

from sqlalchemy import Connection, Row, insert, select, update

from protocol.api import Session, SessionState
from protocol.codec import encode
from protocol.ids import DeviceId, OrganisationId, SessionId
from protocol.session import SessionRequest
from protocol.statement import Signed
from relay.store.tables import sessions

OVER = ("refused", "ended")


def add_session(
    connection: Connection,
    organisation: OrganisationId,
    technician: str,
    request: SessionRequest,
    signed: Signed,
    now: float,
) -> bool:
    """False where the organisation has a session of this id already: a request is used once."""
    if find_session(connection, organisation, request.session) is not None:
        return False
    connection.execute(
        insert(sessions).values(
            organisation=organisation,
            id=request.session,
            device=request.device,
            technician=technician,
            request=encode(signed),
            purpose=request.purpose,
            case_id=request.case,
            state="offered",
            started_at=int(now),
            reason="",
            message="",
        )
    )
    return True


def reopen_session(
    connection: Connection,
    organisation: OrganisationId,
    technician: str,
    request: SessionRequest,
    signed: Signed,
    now: float,
) -> bool:
    """A session that was lost goes on; a relay with a new database hears of it for the first time. False where it is
    another one.
    """
    if add_session(connection, organisation, technician, request, signed, now):
        return True
    changed = connection.execute(
        update(sessions)
        .where(sessions.c.organisation == organisation, sessions.c.id == request.session)
        .where(sessions.c.technician == technician, sessions.c.device == request.device)
        .values(state="offered", reason="", message="", ended_at=None)
    )
    return changed.rowcount == 1


def set_state(
    connection: Connection,
    organisation: OrganisationId,
    session: SessionId,
    state: SessionState,
    reason: str,
    message: str,
    now: float,
) -> None:
    values: dict[str, object] = {"state": state, "reason": reason, "message": message}
    if state in OVER:
        values["ended_at"] = int(now)
    connection.execute(
        update(sessions).where(sessions.c.organisation == organisation, sessions.c.id == session).values(**values)
    )


def end_all(connection: Connection, now: float) -> int:
    """At a start: the legs of every session went down with the last process."""
    changed = connection.execute(
        update(sessions)
        .where(sessions.c.state.not_in(OVER))
        .values(state="ended", reason="lost", message="the relay restarted", ended_at=int(now))
    )
    return changed.rowcount


def find_session(connection: Connection, organisation: OrganisationId, session: SessionId) -> Session | None:
    query = select(sessions).where(sessions.c.organisation == organisation, sessions.c.id == session)
    row = (connection.execute(query)).first()
    return None if row is None else _session(row)


def list_sessions(
    connection: Connection,
    organisation: OrganisationId,
    *,
    device: DeviceId | None,
    live: bool,
    before: int | None,
    limit: int,
) -> list[Session]:
    """Newest first. device: of this one alone.  live: those that are not over.  before: started before this instant."""
    query = select(sessions).where(sessions.c.organisation == organisation)
    if device is not None:
        query = query.where(sessions.c.device == device)
    if live:
        query = query.where(sessions.c.state.not_in(OVER))
    if before is not None:
        query = query.where(sessions.c.started_at < before)
    query = query.order_by(sessions.c.started_at.desc(), sessions.c.id).limit(limit)
    return [_session(row) for row in connection.execute(query)]


def _session(row: Row[tuple[object, ...]]) -> Session:
    return Session(
        id=SessionId(row.id),
        device=DeviceId(row.device),
        technician=row.technician,
        purpose=row.purpose,
        case=row.case_id,
        state=row.state,
        started_at=row.started_at,
        ended_at=row.ended_at,
        reason=row.reason,
        message=row.message,
    )
