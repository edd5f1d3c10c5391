"""Whom this console believes: the charters and the policy that it has verified, kept in trust/.

Whatever a relay hands out is judged here against the organisation's fingerprint, which a person gave once. The
highest policy is remembered, so that a relay cannot go back to one from before a revocation.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from console.home import MAX_FILE_BYTES, Home
from protocol.authority import MAX_FORKS, Authority, Outcome, restore
from protocol.charter import HeldCharter
from protocol.codec import decode, encode
from protocol.device_record import HeldRecord, open_record
from protocol.errors import AuxilioError, BadMessage, ConfigInvalid, Untrusted
from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.link import PolicyNumber
from protocol.policy import WARN_BEFORE_EXPIRY_S, HeldPolicy
from protocol.statement import Signed

CHARTERS_FILE = "trust/charters.json"
POLICY_FILE = "trust/policy.json"
FORKS_FILE = "trust/forks.json"

DAY_S = 86_400


class Trust:
    """An Authority on disk. warnings: what a person should hear, each said once."""

    def __init__(self, home: Home, authority: Authority, charters: tuple[Signed, ...]) -> None:
        self._home = home
        self._charters = charters
        self.authority = authority
        self.warnings: list[str] = []

    @property
    def organisation(self) -> OrganisationId:
        return self.authority.organisation

    @property
    def charter(self) -> HeldCharter:
        """Raises ConfigInvalid (no_charter)."""
        if self.authority.charter is None:
            raise _nothing_known("charter")
        return self.authority.charter

    @property
    def policy(self) -> HeldPolicy:
        """Raises ConfigInvalid (no_policy)."""
        if self.authority.policy is None:
            raise _nothing_known("policy")
        return self.authority.policy

    def accept(self, charters: Sequence[Signed], policy: Signed | None) -> bool:
        """Judge what was handed out, keep what is newer; True where something was.

        charters: ascending.  Raises Untrusted or BadMessage for what is not this organisation's; what verified
        before stays.
        """
        before = self.authority
        for signed in charters:
            self._accept_charter(signed)
        if policy is not None:
            self._accept_policy(policy)
        if self.authority == before:
            return False
        self._save()
        return True

    def _accept_charter(self, signed: Signed) -> None:
        if any(signed.payload == kept.payload for kept in self._charters):
            return
        self.authority, outcome = self.authority.accept_charter(signed)
        if outcome is Outcome.ACCEPTED:
            self._charters = (*self._charters, signed)
        elif outcome is Outcome.FORK:
            self.warnings.append("there are two charters of one number: `auxilio authority show` says more")

    def _accept_policy(self, signed: Signed) -> None:
        held = self.authority.policy_order
        self.authority, outcome = self.authority.accept_policy(signed)
        if outcome is Outcome.LOWER:
            self.warnings.append(
                f"the relay hands out an older policy than number {held.number}, which this console knows"
            )
        elif outcome is Outcome.FORK:
            self.warnings.append(
                f"there are two policies numbered {held.number}: an admin resolves it with `auxilio authority rotate`"
            )

    def open_record(self, signed: Signed, device: DeviceId) -> HeldRecord:
        """Raises Untrusted, BadMessage, Refused where the record does not make `device` a known one."""
        return open_record(
            signed, rules=self.authority.technician_rules(), organisation=self.organisation, device=device
        )

    def expiry_warning(self, now: float) -> str | None:
        """What to say of a policy that ends soon, or has. now: Unix seconds."""
        if self.authority.policy is None:
            return None
        left_s = self.authority.policy.policy.expires_at - now
        if left_s <= 0:
            return "the policy has expired: devices refuse jobs and unattended sessions until a new one is published"
        if left_s < WARN_BEFORE_EXPIRY_S:
            return f"the policy expires in {int(left_s // DAY_S)} days: an admin runs `auxilio policy edit --publish`"
        return None

    def _save(self) -> None:
        # Charters first: a policy whose charter is missing could not be read back.
        self._home.write(CHARTERS_FILE, encode(self._charters))
        self._home.write(FORKS_FILE, encode(self.authority.forks))
        if self.authority.policy is not None:
            self._home.write(POLICY_FILE, encode(self.authority.policy.signed))


def load_trust(home: Home, organisation: OrganisationId) -> Trust:
    """Raises ConfigInvalid (corrupt_file) where the files are not what this console once accepted."""
    raw_charters, raw_policy = home.read(CHARTERS_FILE), home.read(POLICY_FILE)
    try:
        charters = decode(raw_charters, tuple[Signed, ...], limit=MAX_FILE_BYTES) if raw_charters else ()
        policy = decode(raw_policy, Signed, limit=MAX_FILE_BYTES) if raw_policy else None
        authority = restore(organisation, charters, policy if charters else None)
        raw_forks = home.read(FORKS_FILE)
        forks = decode(raw_forks, tuple[Sha256, ...], limit=MAX_FILE_BYTES) if raw_forks else ()
        authority = msgspec.structs.replace(authority, forks=forks[-MAX_FORKS:])
    except (BadMessage, Untrusted) as exc:
        raise ConfigInvalid(
            f"{home.file('trust')} is damaged, or another organisation's: {exc.message}",
            code="corrupt_file",
            hint="Move the folder away; `auxilio login` fetches its content again and verifies it.",
        ) from exc
    return Trust(home, authority, charters)


def order_text(order: PolicyNumber) -> str:
    """ "3", or "2.3" where the epoch is 2."""
    return str(order.number) if order.epoch == 0 else f"{order.epoch}.{order.number}"


def _nothing_known(what: str) -> AuxilioError:
    return ConfigInvalid(
        f"no {what} is known here yet", code=f"no_{what}", hint="`auxilio login` fetches it from the relay."
    )
