"""Which charter and policy hold: the pure machine that devices, relays and consoles share.

Each of them keeps one Authority and feeds it whatever documents it is handed, by anybody, in any order. The highest
number signed by a chartered key wins, gaps allowed; lower ones are ignored; another document under a number that is
held is a fork: the held one stays, the other's hash is remembered and reported, and a charter that names
`policy_base` resolves it. No I/O and no clock: expiry is asked with `now`.

    charter: none -> 1 -> n        policy: none -> (epoch, number) rising
                                   a new policy_base: (epoch of that charter, base.number) and up; older epochs end
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from protocol.charter import HeldCharter, open_first_charter, open_next_charter
from protocol.errors import Refused, Untrusted
from protocol.ids import OrganisationId, Sha256
from protocol.link import PolicyNumber
from protocol.policy import DEFAULT_MAX_CERTIFICATE_S, HeldPolicy, open_policy
from protocol.revocation import Revocations
from protocol.statement import CertificateRules, Purpose, Signed

MAX_FORKS = 16
"""Forks remembered: enough to show an admin what happened, too few for a stranger to fill a disk."""

MAX_TOKEN_LIFE_S = 366 * 86_400
"""A join token in an installer may live for a year: what it makes is only a provisional device."""

NO_POLICY = PolicyNumber(epoch=0, number=0)


class Outcome(Enum):
    ACCEPTED = "accepted"
    KNOWN = "known"
    LOWER = "lower"
    FORK = "fork"


class Authority(msgspec.Struct, frozen=True):
    """What one party holds of its organisation's authority.

    epoch: number of the latest charter that named a policy_base (0: none).  base: that base, while it is in force.
    forks: hashes of contradicting documents, newest last.  carried: revocations that hold while there is no policy.
    """

    organisation: OrganisationId
    charter: HeldCharter | None = None
    policy: HeldPolicy | None = None
    epoch: int = 0
    base: Sha256 | None = None
    forks: tuple[Sha256, ...] = ()
    carried: Revocations = Revocations()

    @property
    def charter_number(self) -> int:
        return self.charter.charter.number if self.charter else 0

    @property
    def policy_order(self) -> PolicyNumber:
        if self.policy is None:
            return NO_POLICY
        return self._order(self.policy)

    @property
    def restricted(self) -> frozenset[str]:
        """Critical fields that we do not understand: while there are any, no jobs and no unattended sessions."""
        charter = self.charter.unknown if self.charter else frozenset()
        policy = self.policy.unknown if self.policy else frozenset()
        return charter | policy

    @property
    def revocations(self) -> Revocations:
        return self.policy.policy.revocations if self.policy else self.carried

    def policy_expired(self, now: float) -> bool:
        """True where there is no policy, or one that is past its life. now: Unix seconds."""
        return self.policy is None or now > self.policy.policy.expires_at

    def technician_rules(self) -> CertificateRules:
        """How a technician's certificate is judged under what is held. Raises Refused (no_charter)."""
        longest = self.policy.policy.max_certificate_s if self.policy else DEFAULT_MAX_CERTIFICATE_S
        return self._rules("technician_cas", "technician", longest)

    def enrolment_rules(self) -> CertificateRules:
        """How a join token's certificate is judged under what is held. Raises Refused (no_charter)."""
        return self._rules("enrolment_cas", "enrolment", MAX_TOKEN_LIFE_S)

    def accept_charter(self, signed: Signed) -> tuple[Authority, Outcome]:
        """Return what is held after `signed` was looked at, and what became of it.

        Raises Untrusted or BadMessage where it is not this organisation's; nothing changes then. A chain is fed in
        ascending order; a gap whose signer is unknown is Untrusted with code chain_broken.
        """
        if self.charter is None:
            return self._with_charter(open_first_charter(signed, self.organisation)), Outcome.ACCEPTED
        if signed.payload == self.charter.signed.payload:
            return self, Outcome.KNOWN
        try:
            new = open_next_charter(signed, self.charter)
        except Untrusted as exc:
            raise Untrusted(
                f"the charter is not signed by a root that is known here: {exc.message}",
                code="chain_broken",
                hint="Fetch every charter since the one that is held, and offer them in order.",
            ) from exc
        held = self.charter.charter.number
        if new.charter.number < held:
            return self, Outcome.LOWER
        if new.charter.number == held:
            return self._with_fork(new.sha256), Outcome.FORK
        if new.charter.number == held + 1 and new.charter.previous != self.charter.sha256:
            return self._with_fork(new.sha256), Outcome.FORK
        return self._with_charter(new), Outcome.ACCEPTED

    def accept_policy(self, signed: Signed) -> tuple[Authority, Outcome]:
        """As accept_charter. A policy of an epoch that a policy_base ended is LOWER, whatever its number.

        Raises Refused (no_charter) before a charter is held; Untrusted, BadMessage.
        """
        if self.charter is None:
            raise Refused("a policy cannot be judged before the charter is known", code="no_charter")
        if self.policy is not None and signed.payload == self.policy.signed.payload:
            return self, Outcome.KNOWN
        new = open_policy(signed, self.charter)
        if new.policy.epoch > self.epoch:
            raise Untrusted(
                "the policy belongs to an epoch whose charter is not known here",
                code="chain_broken",
                hint="Fetch the charters first.",
            )
        if new.policy.epoch < self.epoch and new.sha256 != self.base:
            return self, Outcome.LOWER
        order, held = self._order(new), self.policy_order
        if self.policy is not None and _tuple(order) < _tuple(held):
            return self, Outcome.LOWER
        if self.policy is not None and order == held:
            return self._with_fork(new.sha256), Outcome.FORK
        return msgspec.structs.replace(self, policy=new), Outcome.ACCEPTED

    def _order(self, held: HeldPolicy) -> PolicyNumber:
        # The base was issued in an older epoch, and is the first of the new one.
        epoch = self.epoch if held.sha256 == self.base else held.policy.epoch
        return PolicyNumber(epoch=epoch, number=held.policy.number)

    def _with_charter(self, new: HeldCharter) -> Authority:
        changed = msgspec.structs.replace(self, charter=new)
        base = new.charter.policy_base
        if base is not None:
            keep = self.policy if self.policy is not None and self.policy.sha256 == base.sha256 else None
            # What was held may be the thief's. Without the base at hand there is no policy until it is fetched, and
            # without a policy no session; the revocations that were known hold on meanwhile.
            changed = msgspec.structs.replace(
                changed,
                epoch=new.charter.number,
                base=base.sha256,
                policy=keep,
                carried=self.revocations,
                forks=(),
            )
        return changed

    def _with_fork(self, other: Sha256) -> Authority:
        if other in self.forks:
            return self
        return msgspec.structs.replace(self, forks=(*self.forks, other)[-MAX_FORKS:])

    def _rules(self, role: str, purpose: Purpose, max_validity_s: int) -> CertificateRules:
        if self.charter is None:
            raise Refused("no charter is held yet", code="no_charter")
        return CertificateRules(
            cas=self.charter.keys(role),
            revocations=self.revocations,
            max_validity_s=max_validity_s,
            purpose=purpose,
        )


def restore(organisation: OrganisationId, charters: Sequence[Signed], policy: Signed | None) -> Authority:
    """Return the Authority that was kept on a disk of one's own as the charters accepted, ascending, and a policy.

    A policy stays in force when its key leaves the charter (until the next one), so it may be signed by a key of any
    charter kept.  Raises Untrusted, BadMessage where the files are not what was once accepted.
    """
    authority = Authority(organisation=organisation)
    history: list[HeldCharter] = []
    for signed in charters:
        authority, outcome = authority.accept_charter(signed)
        if outcome is Outcome.ACCEPTED and authority.charter is not None:
            history.append(authority.charter)
    if policy is None:
        return authority
    for number, charter in enumerate(reversed(history)):
        try:
            held = open_policy(policy, charter)
            if held.policy.epoch < authority.epoch and held.sha256 != authority.base:
                # A policy_base ended its epoch, and the base had not arrived yet: what was revoked stays so meanwhile.
                return msgspec.structs.replace(authority, carried=held.policy.revocations)
            return msgspec.structs.replace(authority, policy=held)
        except Untrusted:
            if number == len(history) - 1:
                raise
    raise Untrusted("a policy without a charter", code="no_charter")


def _tuple(order: PolicyNumber) -> tuple[int, int]:
    return order.epoch, order.number
