"""The REST records between a console (or an integration) and a relay.

Bodies are JSON of these, at most MAX_MESSAGE_BYTES unless a field's docstring says otherwise. A console believes none
of it: records, reports and policies come with their signatures and are verified again; only presence, addresses and
times are the relay's own word.
"""

from __future__ import annotations

from typing import Literal

from protocol.codec import Count, Record, Strict
from protocol.error_body import ErrorBody as ErrorBody
from protocol.ids import DeviceId, OrganisationId, SessionId, Sha256
from protocol.link import PolicyNumber
from protocol.statement import Signed

MAX_PAGE = 500
DEFAULT_PAGE = 100
MAX_CONTINUED = 16
"""Reinstallations of one machine that are followed: a decade of them."""

MAX_HISTORY_SESSIONS = 100
MAX_LIST_BYTES = 8 * 1024 * 1024
"""A page of devices with their signed records: the largest body that a console accepts."""


class RelayInfo(Record, frozen=True, kw_only=True):
    """GET /v1/relay. time: Unix seconds.  names: "host:port" that logins may name."""

    time: float
    versions: tuple[int, ...]
    names: tuple[str, ...]
    release: str


class Charters(Record, frozen=True, kw_only=True):
    """GET /v1/organisations/{org}/charters: all of them, ascending."""

    charters: tuple[Signed, ...]


class PublishPolicy(Strict, frozen=True, kw_only=True):
    """POST /v1/organisations/{org}/policy. expected: what the console believes is in force; else 409 policy_changed."""

    policy: Signed
    expected: PolicyNumber | None


class Published(Record, frozen=True, kw_only=True):
    """outcome: accepted or known. A lower number or a fork is a 409."""

    outcome: str
    sha256: Sha256


class Introduction(Strict, frozen=True, kw_only=True):
    """POST /v1/organisations/{org}/introduce: a device of the organisation's that another relay knew.

    enrolment: what it once joined with; its token may be used up and over by now.  record: the word of an admin on it,
    which stands in the place of the token's.
    """

    enrolment: Signed
    record: Signed


class EnrolAnswer(Record, frozen=True, kw_only=True):
    """POST /v1/organisations/{org}/enrol. tags: what the token suggests; they count only in a device record."""

    device: DeviceId
    charters: tuple[Signed, ...]
    policy: Signed
    tags: tuple[str, ...]


class LoginNonce(Record, frozen=True, kw_only=True):
    nonce: str
    time: float


class LoginAnswer(Record, frozen=True, kw_only=True):
    """token: bearer.  expires_at: Unix seconds.

    scope: "mailbox" for a certificate that is expired but otherwise good: it may fetch its renewal and nothing else.
    certificate: a newer one that waits in the mailbox, a public line, or None.
    """

    token: str
    expires_at: Count
    scope: Literal["full", "mailbox"]
    certificate: str | None = None


class SectionHead(Record, frozen=True, kw_only=True):
    """One section of a device's last report. size: bytes.  *_at: Unix seconds by the device's clock."""

    name: str
    sha256: Sha256
    size: Count
    collected_at: Count


class Presence(Record, frozen=True, kw_only=True):
    """The relay's own word. since_at: of the state.  address: where the device's link comes from.

    offline_reason: what the agent said of its last disconnection.
    """

    online: bool
    since_at: Count
    last_seen_at: Count
    address: str = ""
    agent: str = ""
    charter: Count = 0
    policy: PolicyNumber = PolicyNumber(epoch=0, number=0)
    offline_reason: str = ""
    offline_since_at: Count = 0
    forks: tuple[Sha256, ...] = ()


class Device(Record, frozen=True, kw_only=True):
    """One device as the relay knows it.

    device_key: public line; its hash is the id.  enrolment: the signed EnrolStatement with which it joined.
    record: its signed DeviceRecord, or None while it is provisional.  report: its last signed Report.
    hostname, os, ram: from the report, for lists; a console that must be sure reads the signed report.
    """

    id: DeviceId
    device_key: str
    enrolment: Signed
    enrolled_at: Count
    suggested_tags: tuple[str, ...]
    record: Signed | None
    report: Signed | None
    sections: tuple[SectionHead, ...]
    presence: Presence
    hostname: str = ""
    os: str = ""
    ram: Count = 0


class DevicePage(Record, frozen=True, kw_only=True):
    """GET /v1/devices?selector=&after=&limit=. next: pass as `after`, or None at the end.  total: of the selector."""

    devices: tuple[Device, ...]
    next: str | None
    total: Count


class SampleBucket(Record, frozen=True, kw_only=True):
    """at: when it begins, Unix seconds.  values: by metric: how many samples, their mean, the least and the most."""

    at: Count
    values: dict[str, tuple[Count, float, float, float]]


class SampleSeries(Record, frozen=True, kw_only=True):
    """GET /v1/devices/{id}/samples?since=&until=&step=. What the device measured between two instants, Unix seconds.

    step_s: of the buckets; 0: the device's own signed batches (protocol/samples.py), which a console verifies. Buckets
    are the relay's word.  more: there is more than fits, and older ones were left out.
    """

    step_s: Count
    since_at: Count
    until_at: Count
    batches: tuple[Signed, ...] = ()
    buckets: tuple[SampleBucket, ...] = ()
    more: bool = False


class SessionNonce(Record, frozen=True, kw_only=True):
    """POST /v1/devices/{id}/sessions/nonce: a nonce of the device's pool, and what the device holds."""

    nonce: str
    policy: PolicyNumber


class StartSession(Strict, frozen=True, kw_only=True):
    """POST /v1/devices/{id}/sessions. request: SessionRequest signed in session@auxilio.

    resume: the session stands, and its legs were lost: the very request that began it, for two new tickets.
    """

    request: Signed
    resume: bool = False


class SessionStarted(Record, frozen=True, kw_only=True):
    """ticket: single-use bearer for GET /v1/legs/{session}.  leg_url: the node to dial."""

    session: SessionId
    ticket: str
    leg_url: str


SessionState = Literal["offered", "waiting", "accepted", "open", "refused", "ended"]


class Session(Record, frozen=True, kw_only=True):
    """GET /v1/sessions/{id}. reason: why it was refused or ended, in the words of whoever did."""

    id: SessionId
    device: DeviceId
    technician: str
    purpose: str
    case: str | None
    state: SessionState
    started_at: Count
    ended_at: Count | None = None
    reason: str = ""
    message: str = ""


class Sessions(Record, frozen=True, kw_only=True):
    sessions: tuple[Session, ...]


class History(Record, frozen=True, kw_only=True):
    """GET /v1/devices/{id}/history. devices: those that its records continue, the latest first, at most MAX_CONTINUED;
    a console believes each link by the signed record alone.  sessions: of all of them and its own, newest first.
    """

    devices: tuple[Device, ...]
    sessions: tuple[Session, ...]


class Mail(Strict, frozen=True, kw_only=True):
    """PUT /v1/mailbox/{fingerprint in hex of the technician's public key}. certificate: public line."""

    certificate: str


class Event(Record, frozen=True, kw_only=True):
    """One event of GET /v1/events (Server-Sent Events; `data:` is this as JSON).

    kind: device_online, device_offline, device_enrolled, record_changed, policy_changed, session_changed, report.
    """

    kind: str
    at: Count
    organisation: OrganisationId
    device: DeviceId | None = None
    session: SessionId | None = None
    detail: str = ""
