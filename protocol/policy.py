"""The policy: the signed rules that every device enforces.

A complete document, numbered and chained; a policy key signs it in policy@auxilio. Past `expires_at` an agent
refuses jobs and unattended sessions; a customer who is present can still let a technician in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from protocol.charter import MAX_DOCUMENT_NUMBER, HeldCharter, unknown_critical
from protocol.codec import MAX_DOCUMENT_BYTES, Record, Strict, decode, encode
from protocol.errors import BadMessage, UsageInvalid
from protocol.forward import MAX_TARGETS, parse_target
from protocol.ids import Sha256, sha256
from protocol.link import PolicyNumber
from protocol.revocation import Revocations
from protocol.selector import Selector, parse, tags_only
from protocol.statement import POLICY, Signed, open_by_key

DAY_S = 86_400
DEFAULT_POLICY_LIFE_S = 90 * DAY_S
WARN_BEFORE_EXPIRY_S = 30 * DAY_S
"""The console warns from day 60 of 90."""

DEFAULT_MAX_CERTIFICATE_S = 30 * DAY_S
MAX_RELAYS = 16
MAX_CONSENT_RULES = 64
MAX_FILES_RULES = 64
MAX_ROOT_CHARS = 1024
MAX_CONSENT_WAIT_S = 600


DEFAULT_FORWARD = ("localhost:*", "gateway:*")
"""Of an organisation's first policy: the device's own services, and the page of the modem or router before it. Who may
forward at all is in their certificate."""


class Relay(Record, frozen=True, kw_only=True):
    """A relay that agents may dial. url: https://host:port.  pin: `sha256:` + hex of its key, or None for WebPKI."""

    url: str
    pin: str | None = None


class ConsentRule(Record, frozen=True, kw_only=True):
    """How the customer is asked on the devices that `where` (a selector over signed tags) matches.

    attended: `auxilio-agent allow` must answer within wait_s; no answer is a no.  unattended: nobody is asked.
    nobody_present: what holds on an attended device where nobody is logged in: ask anyway (somebody may come),
    refuse at once, or allow.
    """

    where: str
    mode: Literal["attended", "unattended"] = "attended"
    nobody_present: Literal["ask", "refuse", "allow"] = "ask"
    wait_s: int = 60


class FilesRule(Record, frozen=True, kw_only=True):
    """Which files `files` reaches on the devices that `where` (a selector over signed tags) matches.

    root: a folder that nothing leads out of: absolute, or ~ for the account's home, or ~/ and what is below it. With
    "/" the account's own rights are the bound.  write: else files are only read.
    """

    where: str
    root: str = "/"
    write: bool = True


DEFAULT_FILES = FilesRule(where="all")
"""What holds where no rule matches: who has the right `files` acts as the account that the certificate names."""

DEFAULT_CONSENT = ConsentRule(where="all")
"""What holds where no rule matches, and on a provisional device, which has no signed tags."""


class Policy(Record, frozen=True, kw_only=True):
    """The payload signed in policy@auxilio.

    (epoch, number) orders policies.  previous: SHA-256 of the one before, or None.  *_at: Unix seconds; *_s: seconds.
    max_certificate_s: longest technician certificate that devices accept.  max_session_s: when a session is ended.
    files: the first rule that matches a device holds.  forward: targets, as protocol.forward reads them.
    stale_after_s: unseen for longer is stale.
    thresholds: from which value on devices call something a finding, by name (docs/findings.md); their own where empty.
    recording_recipients, sealing_keys: age X25519 recipients.  wave_limit: devices a wave may have without release.
    critical: as in Charter.
    """

    version: int = 1
    epoch: int = 0
    number: int
    previous: Sha256 | None = None
    issued_at: int
    expires_at: int
    relays: tuple[Relay, ...]
    revocations: Revocations = Revocations()
    consent: tuple[ConsentRule, ...] = ()
    files: tuple[FilesRule, ...] = ()
    forward: tuple[str, ...] = ()
    max_certificate_s: int = DEFAULT_MAX_CERTIFICATE_S
    max_session_s: int = 12 * 3600
    recording_recipients: tuple[str, ...] = ()
    sealing_keys: tuple[str, ...] = ()
    stale_after_s: int = 30 * DAY_S
    wave_limit: int = 50
    thresholds: dict[str, float] = {}
    critical: tuple[str, ...] = ()


class HeldPolicy(msgspec.Struct, frozen=True):
    """A policy that verified, with the bytes that did. unknown: critical fields that we do not understand."""

    signed: Signed
    policy: Policy
    sha256: Sha256
    unknown: frozenset[str]

    @property
    def order(self) -> PolicyNumber:
        return PolicyNumber(epoch=self.policy.epoch, number=self.policy.number)

    def consent_for(self, matches: Callable[[Selector], bool]) -> ConsentRule:
        """The first rule whose selector `matches` says yes to, or DEFAULT_CONSENT."""
        return next((rule for rule in self.policy.consent if matches(parse(rule.where))), DEFAULT_CONSENT)

    def files_for(self, matches: Callable[[Selector], bool]) -> FilesRule:
        """The first rule whose selector `matches` says yes to, or DEFAULT_FILES."""
        return next((rule for rule in self.policy.files if matches(parse(rule.where))), DEFAULT_FILES)


class PolicyBundle(Strict, frozen=True, kw_only=True):
    """A policy that is carried by hand where no relay is (`auxilio-agent policy import`). charters: all, ascending."""

    charters: tuple[Signed, ...] = ()
    policy: Signed


def _check_shape(policy: Policy) -> None:
    if policy.version != 1:
        raise BadMessage(f"policy version {policy.version} is not known", code="unknown_version")
    if not (1 <= policy.number <= MAX_DOCUMENT_NUMBER and 0 <= policy.epoch <= MAX_DOCUMENT_NUMBER):
        raise BadMessage("a policy's number or epoch is out of bounds")
    if not 0 <= policy.issued_at <= policy.expires_at <= MAX_DOCUMENT_NUMBER:
        raise BadMessage("an instant in a policy is out of bounds")
    if policy.expires_at == policy.issued_at:
        raise BadMessage("a policy must expire after it was issued")
    if len(policy.relays) > MAX_RELAYS or len(policy.consent) > MAX_CONSENT_RULES:
        raise BadMessage(f"a policy lists at most {MAX_RELAYS} relays and {MAX_CONSENT_RULES} consent rules")
    if policy.max_certificate_s <= 0 or policy.max_session_s <= 0 or policy.stale_after_s <= 0:
        raise BadMessage("a policy's durations are positive")
    _check_files(policy.files)
    for rule in policy.consent:
        if not tags_only(parse(rule.where)):
            raise BadMessage("a consent rule selects by signed tags and ids alone")
        if not 1 <= rule.wait_s <= MAX_CONSENT_WAIT_S:
            raise BadMessage(f"consent waits between 1 and {MAX_CONSENT_WAIT_S} s")


def _check_files(rules: tuple[FilesRule, ...]) -> None:
    if len(rules) > MAX_FILES_RULES:
        raise BadMessage(f"a policy lists at most {MAX_FILES_RULES} rules for files")
    for rule in rules:
        if not tags_only(parse(rule.where)):
            raise BadMessage("a rule for files selects by signed tags and ids alone")
        if len(rule.root) > MAX_ROOT_CHARS or "\0" in rule.root:
            raise BadMessage("the root of a rule for files is too long, or no path")


def _check_forward(targets: tuple[str, ...]) -> None:
    """Only where a policy is signed: to a device, a target that a later release writes permits nothing."""
    if len(targets) > MAX_TARGETS:
        raise BadMessage(f"a policy lists at most {MAX_TARGETS} targets for forwards")
    try:
        for target in targets:
            parse_target(target)
    except UsageInvalid as exc:
        raise BadMessage(exc.message, hint=exc.hint) from exc


def open_policy(signed: Signed, charter: HeldCharter) -> HeldPolicy:
    """Return the policy in `signed` if a policy key of `charter` signed it; which to keep is authority.py's.

    Raises Untrusted, BadMessage.
    """
    opened = open_by_key(signed, namespace=POLICY, keys=charter.keys("policy_keys"), limit=MAX_DOCUMENT_BYTES)
    policy = decode(opened.payload, Policy, limit=MAX_DOCUMENT_BYTES)
    _check_shape(policy)
    unknown = unknown_critical(opened.payload, policy.critical, Policy)
    return HeldPolicy(signed, policy, sha256(opened.payload), unknown)


def policy_payload(policy: Policy) -> bytes:
    """The bytes to sign. Raises BadMessage where no device would accept the policy, or a part of it could mean
    nothing."""
    _check_shape(policy)
    for rule in policy.files:
        folders = rule.root.split("/")
        if folders[0] not in ("", "~") or ".." in folders:
            raise BadMessage("the root of a rule for files is an absolute folder, or one in ~")
    _check_forward(policy.forward)
    return encode(policy)
