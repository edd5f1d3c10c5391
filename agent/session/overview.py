"""What the agent tells about its sessions: to `auxilio-agent status`, and to whoever is asked for consent."""

from __future__ import annotations

import msgspec

from agent.consent import Question
from agent.session.broker import SessionBroker
from protocol.ids import SessionId
from protocol.session import SessionRequest


class PendingConsent(msgspec.Struct, frozen=True, kw_only=True):
    """A question that waits for the customer. until_at: Unix seconds."""

    session: SessionId
    technician: str
    purpose: str
    case: str | None
    capabilities: tuple[str, ...]
    account: str
    until_at: int


class LiveSession(msgspec.Struct, frozen=True, kw_only=True):
    """state: starting, dialling, handshake, open, or away: its connection was lost.

    since_at: Unix seconds.  channels: processes that run.
    """

    session: SessionId
    technician: str
    purpose: str
    case: str | None
    capabilities: tuple[str, ...]
    account: str
    since_at: int
    asked: bool
    state: str
    channels: int


def pending(question: Question) -> PendingConsent:
    return PendingConsent(
        session=question.session,
        technician=question.technician,
        purpose=question.purpose,
        case=question.case,
        capabilities=question.capabilities,
        account=question.account,
        until_at=question.until_at,
    )


def live_session(broker: SessionBroker) -> LiveSession:
    request: SessionRequest = broker.running.verified.request
    return LiveSession(
        session=request.session,
        technician=broker.running.verified.technician.name,
        purpose=request.purpose,
        case=request.case,
        capabilities=request.capabilities,
        account=request.account,
        since_at=int(broker.running.started_at),
        asked=broker.running.asked,
        state="away" if broker.is_away else broker.state.value,
        channels=broker.channels,
    )
