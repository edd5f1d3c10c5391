"""Where sessions write what happened, for the device's own append-only log."""

from __future__ import annotations

from typing import Protocol

from protocol.keys import fingerprint
from protocol.session import VerifiedRequest


class Journal(Protocol):
    def record(self, event: str, **fields: object) -> None:
        """Append an entry. Never raises: a full disk is what a session may be there to repair."""


def note_request(journal: Journal, verified: VerifiedRequest) -> None:
    """Who asked for what, with all that tells them apart later."""
    request, technician = verified.request, verified.technician
    journal.record(
        "session_requested",
        session=request.session,
        technician=technician.name,
        serial=technician.certificate.serial,
        ca=fingerprint(technician.certificate.ca.blob),
        account=request.account,
        purpose=request.purpose,
        case=request.case,
        capabilities=list(request.capabilities),
        ssh_key=fingerprint(verified.ssh_key.blob),
    )
