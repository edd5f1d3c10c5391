"""The link: the messages of an agent's one long-lived connection to a relay, both ways.

JSON text, at most MAX_MESSAGE_BYTES each, told apart by `type`. What is larger travels as a blob and is only
announced here. A message of a type that the reader does not know is ignored and counted (UnknownMessage), so that
two releases apart still talk; a malformed message of a known type ends the link.

    agent                                     relay
      |  <---------------------------- Challenge  |   nonce, time, versions
      |  Hello --------------------------------->  |   LinkStatement signed by the device key
      |  <------------------------------ Welcome  |   version agreed, blob token, what the relay holds
      |  Nonces, Report, Pong ... <-> ... Ping, Documents, ReportAck, SessionOffer ...
      |  <------------------------------ Goodbye  |   when to come back
"""

from __future__ import annotations

import msgspec

from protocol.codec import MAX_MESSAGE_BYTES, Record, decode
from protocol.errors import BadMessage
from protocol.ids import SessionId, Sha256, parse_session_id
from protocol.statement import Signed

VERSIONS = (1,)
"""The protocol versions that this release speaks, newest last. Two releases back stay in the list."""

NONCE_POOL = 16
"""Session nonces that an agent keeps at the relay: a session needs no extra round trip, and a burst of technicians
does not run dry. Each is single-use and short."""

MAX_REPORT_NUMBER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""

MAX_ANNOUNCED = 256
"""Hashes in one message. A charter chain or a set of changed sections is far below it."""


class PolicyNumber(Record, frozen=True, kw_only=True, array_like=True):
    """Policies are ordered by this pair. epoch: number of the charter that last named a policy base, or 0."""

    epoch: int
    number: int


# -- relay to agent ---------------------------------------------------------------------------------------------


class Challenge(Record, frozen=True, kw_only=True, tag="challenge"):
    """First message. nonce: base64url of NONCE_BYTES.  relay_time: Unix seconds by the relay's clock, a hint only."""

    nonce: str
    relay_time: int
    versions: tuple[int, ...]


class Welcome(Record, frozen=True, kw_only=True, tag="welcome"):
    """The link stands.

    heartbeat_s: what the relay pings by.  blob_token: bearer for GET/PUT /v1/blobs of this device.
    charter, record: highest numbers that the relay holds for it (0: none).  report: last report number it committed.
    samples: number of the last batch of samples it committed; None: it takes none.
    guarded_ports: of the relay's machine, that no forward may reach: where agent and relay share one. It only forbids.
    """

    version: int
    heartbeat_s: float
    blob_token: str
    charter: int
    policy: PolicyNumber
    record: int
    report: int
    samples: int | None = None
    guarded_ports: tuple[int, ...] = ()


class Documents(Record, frozen=True, kw_only=True, tag="documents"):
    """Newer authority documents to be fetched as blobs, each the JSON of a Signed. charters: ascending by number."""

    charters: tuple[Sha256, ...] = ()
    policy: Sha256 | None = None
    record: Sha256 | None = None


class ReportAck(Record, frozen=True, kw_only=True, tag="report_ack"):
    """The report with this number, and every section it names, is committed: the agent may forget it."""

    number: int


class ReportMissing(Record, frozen=True, kw_only=True, tag="report_missing"):
    """The report is not stored yet: these blobs have to be PUT first, and the report sent again."""

    number: int
    sha256s: tuple[Sha256, ...]


class SamplesAck(Record, frozen=True, kw_only=True, tag="samples_ack"):
    """The batch of samples with this number, and every one before it, is committed: the agent may forget it."""

    number: int


class SessionOffer(Record, frozen=True, kw_only=True, tag="session_offer"):
    """A technician asks. request: SessionRequest signed in session@auxilio.

    ticket: single-use bearer for GET /v1/legs/{session} on `leg_url` ("https://host:port" of the node to dial, which
    is one of the policy's relays).
    resume: its technician asks again, with the same request, since the legs were lost.
    """

    session: SessionId
    request: Signed
    ticket: str
    leg_url: str
    resume: bool = False


class SessionClose(Record, frozen=True, kw_only=True, tag="session_close"):
    """The console or its leg is gone before the splice, or the technician gave up waiting."""

    session: SessionId
    reason: str


class Goodbye(Record, frozen=True, kw_only=True, tag="goodbye"):
    """The relay ends the link. return_after_s: when to come back; the agent adds jitter of its own."""

    reason: str
    return_after_s: float


# -- agent to relay ---------------------------------------------------------------------------------------------


class Hello(Record, frozen=True, kw_only=True, tag="hello"):
    """statement: LinkStatement in link@auxilio.  version: chosen from the Challenge's.

    charter, policy, record: what the agent holds.  agent: its release, "0.1.0".
    offline_reason, offline_since_at: why and when the previous link ended, as the agent saw it ("" and 0: first).
    forks: hashes of authority documents that contradict the ones it holds.
    """

    statement: Signed
    version: int
    agent: str
    charter: int
    policy: PolicyNumber
    record: int
    offline_reason: str = ""
    offline_since_at: int = 0
    forks: tuple[Sha256, ...] = ()


class Held(Record, frozen=True, kw_only=True, tag="held"):
    """What the agent holds after it accepted or refused documents, so that the relay can show who lags behind.

    refused: for each document refused, "sha256: code".
    """

    charter: int
    policy: PolicyNumber
    record: int
    forks: tuple[Sha256, ...] = ()
    refused: tuple[str, ...] = ()


class ReportSent(Record, frozen=True, kw_only=True, tag="report"):
    """report: a Report in report@auxilio whose sections' blobs have been PUT."""

    report: Signed


class SamplesSent(Record, frozen=True, kw_only=True, tag="samples"):
    """samples: a SampleBatch in report@auxilio. One is under way at a time, in the order of their numbers."""

    samples: Signed


class Nonces(Record, frozen=True, kw_only=True, tag="nonces"):
    """Session nonces (base64url of NONCE_BYTES) that the relay may hand to consoles. valid_s: how long each lives."""

    nonces: tuple[str, ...]
    valid_s: int


class SessionWaiting(Record, frozen=True, kw_only=True, tag="session_waiting"):
    """The customer is being asked. until_at: Unix seconds by the device's clock; wait_s: the same as a duration."""

    session: SessionId
    until_at: int
    wait_s: int


class SessionAccepted(Record, frozen=True, kw_only=True, tag="session_accepted"):
    """The device's leg is being dialled."""

    session: SessionId


class SessionRefused(Record, frozen=True, kw_only=True, tag="session_refused"):
    session: SessionId
    code: str
    message: str
    hint: str = ""


class SessionAway(Record, frozen=True, kw_only=True, tag="session_away"):
    """The device's leg was lost, whatever the relay sees of it; the device waits for the session to be offered anew."""

    session: SessionId


class SessionEnded(Record, frozen=True, kw_only=True, tag="session_ended"):
    """reason: a stable code (closed, revoked, policy, expired, consent_revoked, lost, failed); message: for people."""

    session: SessionId
    reason: str
    message: str = ""


# -- both ways --------------------------------------------------------------------------------------------------


class Ping(Record, frozen=True, kw_only=True, tag="ping"):
    """To be answered by a Pong with the same id. Each side pings; each side has a deadline."""

    id: int


class Pong(Record, frozen=True, kw_only=True, tag="pong"):
    id: int


ToAgent = (
    Challenge
    | Welcome
    | Documents
    | ReportAck
    | ReportMissing
    | SamplesAck
    | SessionOffer
    | SessionClose
    | Goodbye
    | Ping
    | Pong
)
ToRelay = (
    Hello
    | Held
    | ReportSent
    | SamplesSent
    | Nonces
    | SessionWaiting
    | SessionAccepted
    | SessionRefused
    | SessionAway
    | SessionEnded
    | Ping
    | Pong
)


class _Tagged(Record, frozen=True, kw_only=True):
    type: str


_TO_AGENT = {t.__struct_config__.tag: t for t in ToAgent.__args__}
_TO_RELAY = {t.__struct_config__.tag: t for t in ToRelay.__args__}


class UnknownMessage(msgspec.Struct, frozen=True):
    """A message of a type that this release does not know: to be ignored and counted."""

    type: str


def _decode(text: str | bytes, types: dict[object, type[Record]]) -> Record | UnknownMessage:
    name = decode(text, _Tagged, limit=MAX_MESSAGE_BYTES).type
    known = types.get(name)
    if known is None:
        return UnknownMessage(name[:64])
    message = decode(text, known, limit=MAX_MESSAGE_BYTES)
    for field in ("charters", "sha256s", "nonces", "forks", "refused", "versions"):
        if len(getattr(message, field, ())) > MAX_ANNOUNCED:
            raise BadMessage(f"{field} of {name}: more than {MAX_ANNOUNCED}")
    return message


_NUMBERS: dict[type, tuple[str, ...]] = {
    Welcome: ("report", "samples"),
    ReportAck: ("number",),
    SamplesAck: ("number",),
}
"""Fields that number reports, or batches of samples."""


def decode_to_agent(text: str | bytes) -> ToAgent | UnknownMessage:
    """Raises BadMessage, also for an id that is none, and for a number that no report can have."""
    message = _decode(text, _TO_AGENT)
    if isinstance(message, SessionOffer):
        parse_session_id(message.session)
    for field in _NUMBERS.get(type(message), ()):
        number = getattr(message, field)
        if number is not None and not 0 <= number <= MAX_REPORT_NUMBER:
            raise BadMessage("not a number of a report")
    return message  # type: ignore[return-value]  # the table holds ToAgent's members alone


def decode_to_relay(text: str | bytes) -> ToRelay | UnknownMessage:
    """Raises BadMessage."""
    return _decode(text, _TO_RELAY)  # type: ignore[return-value]  # the table holds ToRelay's members alone
