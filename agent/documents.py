"""What the device holds of its organisation's documents, on disk before it is used.

protocol.authority decides what becomes of a document; here it is kept. The time floor rises with what is accepted.
A disk that takes nothing any more (full, or turned read-only by an error) does not keep a document from being in
force: a revocation that waits for room would be none. It is written as soon as that works again (`save`), and a
restart before then only means that the relay announces it once more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from agent.membership import Membership
from agent.release import BUILT_AT
from agent.state import StateDir
from protocol.authority import MAX_FORKS, Authority, Outcome, restore
from protocol.codec import MAX_DOCUMENT_BYTES, Record, decode
from protocol.device_record import (
    ACCEPT_WITHIN_S,
    MAX_RECORD_BYTES,
    DeviceRecord,
    HeldRecord,
    check_fresh,
    may_replace,
    open_record,
)
from protocol.errors import AuxilioError, BadMessage, Refused, Untrusted
from protocol.ids import Sha256, sha256
from protocol.policy import PolicyBundle, Relay
from protocol.statement import Signed
from protocol.system_clock import Clock
from protocol.time_floor import TimeFloor

log = logging.getLogger(__name__)

MAX_SIGNED_BYTES = 2 * MAX_DOCUMENT_BYTES
"""A Signed as JSON: a document in base64 and its signature."""


LATEST_FLOOR_AT = 2.0**54
"""Twice what a signed document can name: the monotonic time since has room above it, and arithmetic stays exact."""


class _Floor(Record, frozen=True, kw_only=True):
    floor_at: float


class _Forks(Record, frozen=True, kw_only=True):
    sha256s: tuple[Sha256, ...]


class Documents:
    """The device's authority and record. Loading verifies everything again: the disk may have been tampered with."""

    def __init__(self, state: StateDir, membership: Membership, clock: Clock) -> None:
        """Raises CorruptState where a file does not verify."""
        self._state = state
        self._membership = membership
        self._clock = clock
        kept = state.read_as("floor.json", _Floor)
        if kept is not None and not 0 <= kept.floor_at < LATEST_FLOOR_AT:
            raise state.corrupt("floor.json", "it names an instant that cannot be")
        self._floor = TimeFloor(build_at=BUILT_AT, known_at=kept.floor_at if kept else 0.0, monotonic=clock.monotonic())
        self._accepted_charters: set[Sha256] = set()
        self._unsaved: dict[str, object] = {}
        self.authority = self._load_authority()
        self._record_number = 0  # of the highest that was held, void or not: a relay does not go back behind it
        self.record = self._load_record()

    def now(self) -> float:
        """The time to decide by: Unix seconds, never behind the floor."""
        return self._floor.now(self._clock.now(), self._clock.monotonic())

    def clock_behind_s(self) -> float:
        """By how much the system's clock is known to be wrong, or 0."""
        return self._floor.behind_s(self._clock.now(), self._clock.monotonic())

    def keep_floor(self) -> None:
        """Every few minutes and at the end. Raises Unavailable where the disk is full."""
        self._state.write_as("floor.json", self._floor_record())

    def _floor_record(self) -> _Floor:
        return _Floor(floor_at=self._floor.floor_at(self._clock.monotonic()))

    @property
    def is_saved(self) -> bool:
        return not self._unsaved

    def save(self) -> None:
        """Write what could not be written when it was accepted. Raises Unavailable or ConfigInvalid where it cannot
        be written now either.
        """
        for name, value in list(self._unsaved.items()):
            self._state.write_as(name, value)
            del self._unsaved[name]

    def _keep(self, name: str, value: object) -> None:
        self._unsaved[name] = value
        try:
            self.save()
        except AuxilioError as exc:
            log.warning("%s", exc.message)

    def _hold(self, authority: Authority) -> None:
        if authority.forks != self.authority.forks:
            self._keep("forks.json", _Forks(sha256s=authority.forks))
        self.authority = authority

    def relays(self) -> tuple[Relay, ...]:
        """Where to dial: the policy's relays, or the join token's while there is no policy."""
        policy = self.authority.policy
        return (policy.policy.relays if policy else ()) or self._membership.relays

    def accept_charters(self, charters: Iterable[Signed]) -> Outcome:
        """Take charters, ascending; return what became of the last. Raises AuxilioError at the first bad one."""
        outcome = Outcome.KNOWN
        for signed in charters:
            if sha256(signed.payload) in self._accepted_charters:
                continue  # a whole chain is offered again: its older ones need not be signed by today's roots
            changed, outcome = self.authority.accept_charter(signed)
            held = changed.charter
            if outcome is Outcome.ACCEPTED and held is not None:
                self._floor.raise_to(held.charter.issued_at, self._clock.monotonic())
                if held.charter.time_floor_at is not None:
                    self._floor.lower_by_charter(held.charter.time_floor_at, self._clock.monotonic())
                # The floor first: a charter that is on the disk lowers it no second time.
                self._keep("floor.json", self._floor_record())
                self._keep(f"charters/{held.charter.number:012d}.json", signed)
                self._accepted_charters.add(held.sha256)
            self._hold(changed)
        return outcome

    def accept_policy(self, signed: Signed) -> Outcome:
        """Raises AuxilioError where it is not this organisation's."""
        changed, outcome = self.authority.accept_policy(signed)
        if outcome is Outcome.ACCEPTED and changed.policy is not None:
            self._floor.raise_to(changed.policy.policy.issued_at, self._clock.monotonic())
            self._keep("floor.json", self._floor_record())
            self._keep("policy.json", signed)
        self._hold(changed)
        return outcome

    def accept_bundle(self, data: bytes) -> Outcome:
        """Charters and policy as `auxilio policy export` writes them. Raises Untrusted, BadMessage."""
        bundle = decode(data, PolicyBundle, limit=4 * MAX_SIGNED_BYTES)
        self.accept_charters(bundle.charters)
        return self.accept_policy(bundle.policy)

    def accept_record(self, signed: Signed) -> Outcome:
        """Raises AuxilioError where it is not an approver's word on this device."""
        new = self._open_record(signed)
        if new.record.sealing_key != self._membership.sealing_key:
            raise Untrusted("the device record names another sealing key than this device's", code="wrong_sealing_key")
        if self.record is not None and new.sha256 == self.record.sha256:
            return Outcome.KNOWN
        if not may_replace(self.record, new) or (self.record is None and new.record.number <= self._record_number):
            return Outcome.LOWER
        check_fresh(new.record, self.now(), ACCEPT_WITHIN_S)
        self._keep("record.json", signed)
        self.record, self._record_number = new, new.record.number
        return Outcome.ACCEPTED

    def _open_record(self, signed: Signed) -> HeldRecord:
        return open_record(
            signed,
            rules=self.authority.technician_rules(),
            organisation=self._membership.organisation,
            device=self._membership.device,
        )

    def drop_void_record(self) -> bool:
        """After a new policy: a record whose signer turned out to be compromised is void. Return whether it was."""
        if self.record is None:
            return False
        try:
            self._open_record(self.record.signed)
        except AuxilioError:
            self.record = None  # the file stays: it is judged anew at every start
            return True
        return False

    def _load_authority(self) -> Authority:
        charters = []
        for name in self._state.names("charters"):
            signed = self._state.read_as(f"charters/{name}", Signed)
            if signed is not None:
                charters.append(signed)
                self._accepted_charters.add(sha256(signed.payload))
        policy = self._state.read_as("policy.json", Signed)
        forks = self._state.read_as("forks.json", _Forks)
        try:
            authority = restore(self._membership.organisation, charters, None)
        except AuxilioError as exc:
            raise self._state.corrupt("charters", exc.message) from exc
        if policy is not None:
            try:
                authority = restore(self._membership.organisation, charters, policy)
            except AuxilioError as exc:
                raise self._state.corrupt("policy.json", exc.message) from exc
        return msgspec.structs.replace(authority, forks=forks.sha256s[-MAX_FORKS:] if forks else ())

    def _load_record(self) -> HeldRecord | None:
        signed = self._state.read_as("record.json", Signed)
        if signed is None or self.authority.charter is None:
            return None
        try:
            self._record_number = decode(signed.payload, DeviceRecord, limit=MAX_RECORD_BYTES).number
            return self._open_record(signed)
        except (Refused, BadMessage) as exc:
            raise self._state.corrupt("record.json", exc.message) from exc
        except AuxilioError:
            return None  # its signer was revoked as compromised, or the CA replaced: provisional until approved again


def read_signed(data: bytes) -> Signed:
    """A document as it travels in a blob or a file. Raises BadMessage."""
    return decode(data, Signed, limit=MAX_SIGNED_BYTES)
