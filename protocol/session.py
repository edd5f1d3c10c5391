"""The session request: a technician's signed word that starts a session, and what a device checks of it.

Nothing on the device starts before this verifies: a relay that turned hostile cannot reach the SSH server's first
byte. The request is single-use (its nonce came from the device), short-lived, and names the device, the account,
the capabilities and the one SSH key to admit.
"""

from __future__ import annotations

from protocol.codec import Strict, decode
from protocol.errors import Refused
from protocol.ids import DeviceId, OrganisationId, SessionId
from protocol.keys import PublicKey, parse_public_line
from protocol.link import PolicyNumber
from protocol.statement import SESSION, CertificateRules, Signed, open_by_certificate
from protocol.technician import RIGHTS, Technician, read_technician

MAX_REQUEST_LIFE_S = 300
"""Between a technician's signature and the device's check: seconds in practice; minutes where a clock drifts."""

MAX_PURPOSE_CHARS = 500
MAX_REQUEST_BYTES = 16 * 1024

SESSION_CAPABILITIES = frozenset({"view", "shell", "files", "forward", "screen"})
"""What a session may be for. `run` and `approve` are rights to sign documents, not things a session does."""


class SessionRequest(Strict, frozen=True, kw_only=True):
    """The payload signed in session@auxilio.

    purpose: why, in the technician's words; the customer reads it.  case: the case's id, or None.
    capabilities: what the session may do, each also a right of the technician.
    account: "admin", "user" or a literal account; one of the certificate's principals.
    ssh_key: public line of the only key that SSH inside admits.
    policy: the highest policy the console knows; an agent behind it fetches that first.
    nonce: one that the device issued and has not seen used.  issued_at, expires_at: Unix seconds.
    """

    organisation: OrganisationId
    device: DeviceId
    session: SessionId
    purpose: str
    case: str | None
    capabilities: tuple[str, ...]
    account: str
    ssh_key: str
    policy: PolicyNumber
    nonce: str
    issued_at: int
    expires_at: int


class VerifiedRequest(Strict, frozen=True, kw_only=True):
    """A request whose signature, person, audience and life were good at the time of the check."""

    request: SessionRequest
    technician: Technician
    ssh_key: PublicKey


def _refuse(code: str, message: str, hint: str = "") -> Refused:
    return Refused(message, code=code, hint=hint)


def verify_request(
    signed: Signed,
    *,
    rules: CertificateRules,
    organisation: OrganisationId,
    device: DeviceId,
    session: SessionId,
    now: float,
) -> VerifiedRequest:
    """Return the request in `signed` if it is a technician's, for this device and session, and in its time.

    session: the id under which the relay offered it; another one is a relay's substitution.
    Not checked here, since they need the device's state: the nonce, scope, consent, policy number.
    Raises Untrusted (signature, certificate) or Refused with code wrong_organisation, wrong_device, wrong_session,
    request_expired, bad_request, no_right, wrong_principal; BadMessage for its shape.
    """
    opened = open_by_certificate(signed, namespace=SESSION, rules=rules, now=now, limit=MAX_REQUEST_BYTES)
    request = decode(opened.payload, SessionRequest, limit=MAX_REQUEST_BYTES)
    technician = read_technician(opened.certificate)
    _check_audience(request, organisation, device, session)
    _check_life(request, now)
    _check_content(request)
    _check_rights(request, technician)
    return VerifiedRequest(request=request, technician=technician, ssh_key=parse_public_line(request.ssh_key))


def _check_audience(
    request: SessionRequest, organisation: OrganisationId, device: DeviceId, session: SessionId
) -> None:
    if request.organisation != organisation:
        raise _refuse("wrong_organisation", "the request is for another organisation's device")
    if request.device != device:
        raise _refuse("wrong_device", "the request is for another device")
    if request.session != session:
        raise _refuse("wrong_session", "the request was offered under another session's id")


def _check_life(request: SessionRequest, now: float) -> None:
    """A request from the device's future is let in: its clock may be what is to be repaired, and the nonce, which the
    device made a moment ago, says that the request is fresh."""
    if not 0 <= request.expires_at - request.issued_at <= MAX_REQUEST_LIFE_S:
        raise _refuse("bad_request", f"a session request lives for {MAX_REQUEST_LIFE_S} s at most")
    if now > request.expires_at:
        raise _refuse(
            "request_expired",
            "the session request has expired",
            "Ask again; if it happens again, compare the clocks of console and device.",
        )


def _check_content(request: SessionRequest) -> None:
    if not request.purpose.strip() or len(request.purpose) > MAX_PURPOSE_CHARS:
        raise _refuse("bad_request", f"a session needs a purpose of at most {MAX_PURPOSE_CHARS} characters")
    if request.case is not None and len(request.case) > 64:
        raise _refuse("bad_request", "a case's id is at most 64 characters")
    wanted = request.capabilities
    if not wanted or len(set(wanted)) != len(wanted) or not SESSION_CAPABILITIES.issuperset(wanted):
        raise _refuse("bad_request", "a session names its capabilities, each once: view shell files forward screen")


def _check_rights(request: SessionRequest, technician: Technician) -> None:
    lacking = [c for c in request.capabilities if c in RIGHTS and c not in technician.rights]
    if lacking:
        raise _refuse(
            "no_right",
            f"{technician.name} has no right to {', '.join(lacking)}",
            "An admin grants rights with `auxilio technician add --may ...`.",
        )
    if request.account not in technician.principals:
        raise _refuse(
            "wrong_principal",
            f"{technician.name} may not be {request.account[:64]!r} on a device",
            f"The certificate allows: {', '.join(technician.principals)}.",
        )
