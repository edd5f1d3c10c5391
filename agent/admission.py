"""May this session start, may it go on, may this channel open? Pure: the only place on a device that says yes.

The relay has a say in none of it. `admit` is asked once, `may_go_on` at every change of the authority and every few
seconds, `may_open` for every channel and request, each with what the device holds at that moment.

The order of the checks in `admit`, and what each refusal is called:

     1  a policy is held, the device is not removed          no_policy, device_removed
     2  signature, person, audience, life, rights, account   see protocol.session.verify_request
     3  the console's policy is not newer than ours          policy_behind (the driver fetches it and asks again)
     4  the device is in the technician's scope              out_of_scope
     5  the relay to dial is one of the policy's             unknown_relay
     6  there is room                                        too_many_sessions
     7  whether the customer is asked                        policy_expired, policy_restricted, nobody_present
     8  the nonce is ours and unused; it is used up          nonce_unknown
"""

from __future__ import annotations

from typing import Literal

import msgspec

from agent.nonces import NoncePool
from protocol.authority import Authority
from protocol.certificate import check_certificate, parse_certificate
from protocol.device_record import DeviceRecord, facts_of
from protocol.errors import AuxilioError, ConfigInvalid, Refused, Untrusted
from protocol.forward import Target, parse_target
from protocol.ids import DeviceId, OrganisationId, SessionId
from protocol.link import PolicyNumber
from protocol.policy import DEFAULT_CONSENT, ConsentRule, FilesRule, HeldPolicy, Relay
from protocol.selector import Selector, matches
from protocol.session import VerifiedRequest, verify_request
from protocol.sshsig import parse_sshsig
from protocol.statement import Signed
from transport.relay_address import RelayAddress, parse_address

MAX_SESSIONS = 64
"""Live sessions of one device, where its memory allows as many: a laptop should not feel its helpers."""

Kind = Literal["shell", "exec", "pty", "sftp", "forward", "look"]

LOOKING = "view"
"""A session for this alone starts nothing that a technician chooses, and learns what the device reports by itself."""

CAPABILITY: dict[Kind, str] = {
    "shell": "shell",
    "exec": "shell",
    "pty": "shell",
    "sftp": "files",
    "forward": "forward",
    "look": LOOKING,
}
"""Which capability, and so which right of the technician, each kind of channel or request needs."""

PERMIT: dict[Kind, str] = {"pty": "permit-pty", "forward": "permit-port-forwarding"}
"""OpenSSH's own extensions, which an issuing CA may leave out to forbid what they name (ssh-keygen -O)."""


class DeviceView(msgspec.Struct, frozen=True, kw_only=True):
    """What the device holds at the moment of the question. record: None while it is provisional."""

    organisation: OrganisationId
    device: DeviceId
    authority: Authority
    record: DeviceRecord | None

    def matches(self, selector: Selector) -> bool:
        """Of a provisional device no tags are known: neither `tag:kiosk` nor `not tag:kiosk` is true of it, so that a
        relay which withholds the record widens no scope."""
        return matches(selector, facts_of(self.device, self.record.tags if self.record is not None else None))

    def consent(self, held: HeldPolicy) -> ConsentRule:
        """The rule that holds here. Of a provisional device nobody vouched for the tags by which rules are chosen."""
        return held.consent_for(self.matches) if self.record is not None else DEFAULT_CONSENT

    def forward_targets(self) -> tuple[Target, ...]:
        """What may be forwarded to; an entry that this release cannot read permits nothing. Raises Refused."""
        targets = []
        for text in _held_policy(self).policy.forward:
            try:
                targets.append(parse_target(text))
            except ConfigInvalid:
                continue
        return tuple(targets)

    def files(self) -> FilesRule:
        """The folder that file sessions are held to here. Raises Refused (no_policy, device_removed)."""
        return _held_policy(self).files_for(self.matches)


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may become a session. relay: the one to dial.

    ask_s: how long the customer is given to answer; None: nobody is asked.
    """

    verified: VerifiedRequest
    relay: Relay
    ask_s: int | None


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A session that was let in. asked: the customer said yes to it.  started_at: Unix seconds."""

    verified: VerifiedRequest
    asked: bool
    started_at: float


class PolicyBehind(Refused):
    """The console knows a newer policy, `wanted`; a verified technician says so."""

    def __init__(self, wanted: PolicyNumber, held: PolicyNumber) -> None:
        super().__init__(
            f"the console knows policy {wanted.number}, the device only {held.number}",
            code="policy_behind",
            hint="The relay withholds the newer policy from the device, or it is on its way: ask again.",
        )
        self.wanted = wanted


class Ended(Refused):
    """A live session may not go on. `ending`: revoked, expired, policy or out_of_scope, as in link.SessionEnded."""

    def __init__(self, message: str, *, ending: str, code: str | None = None, hint: str = "") -> None:
        super().__init__(message, code=code or ending, hint=hint)
        self.ending = ending


def _held_policy(view: DeviceView) -> HeldPolicy:
    held = view.authority.policy
    if held is None:
        raise Refused(
            "the device holds no policy yet, so nobody may start a session",
            code="no_policy",
            hint="It fetches one from its relay; or carry it by hand with `auxilio-agent policy import FILE`.",
        )
    if any(entry.device == view.device for entry in held.policy.revocations.devices):
        raise Refused("the device has been removed from the organisation", code="device_removed")
    return held


def admit(
    signed: Signed,
    *,
    session: SessionId,
    leg_url: str,
    view: DeviceView,
    nonces: NoncePool,
    live: int,
    room: int,
    present: bool,
    now: float,
    monotonic: float,
) -> Admission:
    """Return what follows from a request that the relay offered as `session`. Uses its nonce up.

    live: sessions that run or are being asked about.  room: for how many more there is memory.
    present: somebody is logged in at the device.
    now: Unix seconds, never behind the device's time floor.  monotonic: the clock of `nonces`.
    Raises Refused, Untrusted or BadMessage; nothing has happened then, and the nonce of a request that could not
    even be verified is left alone.
    """
    held = _held_policy(view)
    verified = verify_request(
        signed,
        rules=view.authority.technician_rules(),
        organisation=view.organisation,
        device=view.device,
        session=session,
        now=now,
    )
    request = verified.request
    mine = view.authority.policy_order
    if (request.policy.epoch, request.policy.number) > (mine.epoch, mine.number):
        raise PolicyBehind(request.policy, mine)
    _check_scope(verified, view)
    relay = _relay(held, leg_url)
    if live >= MAX_SESSIONS or room < 1:
        why = f"{live} sessions are open already" if live >= MAX_SESSIONS else "too little memory is free"
        raise Refused(f"the device takes no more sessions: {why}", code="too_many_sessions", hint="End one first.")
    ask_s = _consent(held, view, request.capabilities, present=present, now=now)
    if not nonces.take(request.nonce, monotonic):
        raise Refused(
            "the request was used before, or was never asked for by this device",
            code="nonce_unknown",
            hint="Ask again: a request is good for one session, and not after the device restarted.",
        )
    return Admission(verified=verified, relay=relay, ask_s=ask_s)


def _check_scope(verified: VerifiedRequest, view: DeviceView) -> None:
    technician = verified.technician
    if not view.matches(technician.scope):
        hint = "" if view.record else "The device is provisional: it has no tags until its record is approved."
        raise Refused(f"the device is outside {technician.name}'s scope", code="out_of_scope", hint=hint)


def leg_relay(view: DeviceView, leg_url: str) -> Relay:
    """The policy's relay that `leg_url` names. Raises Refused (unknown_relay, no_policy, device_removed)."""
    return _relay(_held_policy(view), leg_url)


def _address(url: str) -> RelayAddress | None:
    try:
        return parse_address(url)
    except ConfigInvalid:
        return None


def _relay(held: HeldPolicy, leg_url: str) -> Relay:
    """The policy's relay that `leg_url` names: a relay may not send a device to dial somewhere else."""
    wanted = _address(leg_url)
    for relay in held.policy.relays:
        if wanted is not None and _address(relay.url) == wanted:
            return relay
    raise Refused("the offer names a relay that is not in the policy", code="unknown_relay")


def _consent(
    held: HeldPolicy, view: DeviceView, capabilities: tuple[str, ...], *, present: bool, now: float
) -> int | None:
    """Seconds for which the customer is asked, or None where nobody has to be: as the rule says, or since a technician
    only looks."""
    rule = view.consent(held)
    if _only_looks(capabilities) or _unasked(rule, present=present):
        # The rule that spares the customer the question must come from a policy in force and understood in full.
        why_not = _why_not_unattended(view, now)
        if why_not is None:
            return None
        if not present:
            raise why_not
        return rule.wait_s
    if not present and rule.nobody_present == "refuse":
        raise Refused(
            "nobody is logged in at the device, and the policy then says no",
            code="nobody_present",
            hint="Ask the customer to log in and to stay at the device.",
        )
    return rule.wait_s


def only_looks(running: Running) -> bool:
    """Nobody is asked for such a session, so it gets less of everything."""
    return _only_looks(running.verified.request.capabilities)


def _only_looks(capabilities: tuple[str, ...]) -> bool:
    return capabilities == (LOOKING,)


def _unasked(rule: ConsentRule, *, present: bool) -> bool:
    return rule.mode == "unattended" or (not present and rule.nobody_present == "allow")


def _why_not_unattended(view: DeviceView, now: float) -> Refused | None:
    if view.authority.policy_expired(now):
        return Refused(
            "the device's policy has expired, so somebody there has to say yes, and nobody is logged in",
            code="policy_expired",
            hint="Publish a policy (`auxilio policy publish`), or ask the customer to log in.",
        )
    if view.authority.restricted:
        return Refused(
            "the policy has rules that this agent is too old to understand; somebody there has to say yes",
            code="policy_restricted",
            hint="Update the agent, or ask the customer to log in.",
        )
    return None


def may_go_on(running: Running, *, view: DeviceView, now: float) -> None:
    """Return if the session may go on under what the device holds now. now: Unix seconds. Raises Ended."""
    try:
        held = _held_policy(view)
    except Refused as exc:
        ending = "revoked" if exc.reason == "device_removed" else "policy"
        raise Ended(exc.message, ending=ending, code=exc.reason, hint=exc.hint) from exc
    technician = running.verified.technician
    try:
        check_certificate(technician.certificate, view.authority.technician_rules(), now)
    except Untrusted as exc:
        known = {"revoked": "revoked", "expired": "expired"}
        raise Ended(
            f"{technician.name} may not go on: {exc.message}",
            ending=known.get(exc.reason, "policy"),
            code=exc.reason,
        ) from exc
    if not view.matches(technician.scope):
        raise Ended(f"the device left {technician.name}'s scope", ending="out_of_scope")
    if now > running.started_at + held.policy.max_session_s:
        raise Ended(f"the policy ends a session after {held.policy.max_session_s} s", ending="policy", code="too_long")
    if not running.asked:
        _unattended_may_go_on(held, view, now, only_looks=only_looks(running))


def _unattended_may_go_on(held: HeldPolicy, view: DeviceView, now: float, *, only_looks: bool) -> None:
    why_not = _why_not_unattended(view, now)
    if why_not is not None:
        ending = "expired" if why_not.reason == "policy_expired" else "policy"
        raise Ended(why_not.message, ending=ending, code=why_not.reason, hint=why_not.hint)
    # Somebody who logs in meanwhile does not end a session that began when nobody was there.
    if not only_looks and not _unasked(view.consent(held), present=False):
        raise Ended("the policy now wants the customer to be asked on this device", ending="policy")


def may_open(running: Running, kind: Kind, *, view: DeviceView, now: float) -> None:
    """Return if the session may open a channel, or make a request, of `kind` now.

    Raises Ended where the whole session is over, Refused with code no_capability or not_permitted for this one.
    """
    may_go_on(running, view=view, now=now)
    technician = running.verified.technician
    capability = CAPABILITY[kind]
    if capability not in running.verified.request.capabilities or capability not in technician.rights:
        raise Refused(
            f"the session was not asked for with `{capability}`",
            code="no_capability",
            hint=f"{technician.name} has the rights: {', '.join(sorted(technician.rights))}.",
        )
    permit = PERMIT.get(kind)
    if permit is not None and permit not in technician.certificate.extensions:
        raise Refused(
            f"{technician.name}'s certificate lacks {permit}",
            code="not_permitted",
            hint="It is an OpenSSH extension that the issuer may leave out.",
        )


def claimed_name(signed: Signed) -> str:
    """Who `signed` says it is by, for the log of a refusal: unverified. "" where it says nothing readable."""
    try:
        return parse_certificate(parse_sshsig(signed.signature).signer).key_id
    except AuxilioError:
        return ""
