"""The charter: the root's signed list of which keys hold which role.

Numbered and chained. The organisation's id is the hash of charter 1, so a device that was told the id can check the
first charter offline, and every later one by a root that it already knows (two-step rotation: one charter adds the
new root, signed by the old; the next one drops the old).
"""

from __future__ import annotations

import msgspec

from protocol.codec import MAX_DOCUMENT_BYTES, Record, decode, encode
from protocol.errors import BadMessage, Untrusted
from protocol.ids import OrganisationId, Sha256, organisation_id, sha256
from protocol.keys import parse_public_line
from protocol.statement import CHARTER, Signed, open_by_key

MAX_KEYS_PER_ROLE = 32
MAX_DOCUMENT_NUMBER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact."""


class PolicyBase(Record, frozen=True, kw_only=True):
    """The policy from which the next epoch goes on: how a fork, or a stolen policy key's jump, is undone."""

    number: int
    sha256: Sha256


class Charter(Record, frozen=True, kw_only=True):
    """The payload signed in charter@auxilio. Keys are public lines; each key holds one role alone.

    previous: SHA-256 of the charter numbered one less (None for charter 1).  issued_at: Unix seconds.
    time_floor_at: a floor that agents may go *back* to, where a wrong signed date raised it too high.
    critical: names of fields that a reader must understand; an unknown one restricts it (see authority.py).
    """

    version: int = 1
    number: int
    previous: Sha256 | None = None
    issued_at: int
    roots: tuple[str, ...]
    policy_keys: tuple[str, ...] = ()
    technician_cas: tuple[str, ...] = ()
    enrolment_cas: tuple[str, ...] = ()
    release_keys: tuple[str, ...] = ()
    policy_base: PolicyBase | None = None
    time_floor_at: int | None = None
    critical: tuple[str, ...] = ()


class HeldCharter(msgspec.Struct, frozen=True):
    """A charter that verified, with the bytes that did. unknown: critical fields that we do not understand."""

    signed: Signed
    charter: Charter
    sha256: Sha256
    unknown: frozenset[str]

    def keys(self, role: str) -> frozenset[bytes]:
        """Public key blobs of `role`: roots, policy_keys, technician_cas, enrolment_cas or release_keys."""
        lines: tuple[str, ...] = getattr(self.charter, role)
        return frozenset(parse_public_line(line).blob for line in lines)


ROLES = ("roots", "policy_keys", "technician_cas", "enrolment_cas", "release_keys")


def unknown_critical(payload: bytes, critical: tuple[str, ...], known: type[Record]) -> frozenset[str]:
    """The critical fields that `payload` uses or declares and that `known` does not have."""
    fields = set(known.__struct_fields__)
    present = decode(payload, dict[str, msgspec.Raw], limit=MAX_DOCUMENT_BYTES)
    return frozenset(name for name in critical if name not in fields and name in present)


def _check_shape(charter: Charter) -> None:
    if charter.version != 1:
        raise BadMessage(f"charter version {charter.version} is not known", code="unknown_version")
    if not 1 <= charter.number <= MAX_DOCUMENT_NUMBER:
        raise BadMessage("a charter's number is out of bounds")
    instants = (charter.issued_at, charter.time_floor_at or 0)
    if not all(0 <= instant <= MAX_DOCUMENT_NUMBER for instant in instants):
        raise BadMessage("an instant in a charter is out of bounds")
    if (charter.number == 1) != (charter.previous is None):
        raise BadMessage("only charter 1 has no predecessor")
    if not charter.roots:
        raise BadMessage("a charter without a root could never be replaced")
    seen: set[bytes] = set()
    for role in ROLES:
        lines = getattr(charter, role)
        if len(lines) > MAX_KEYS_PER_ROLE:
            raise BadMessage(f"a charter lists at most {MAX_KEYS_PER_ROLE} {role}")
        for line in lines:
            blob = parse_public_line(line).blob
            if blob in seen:
                # One purpose a key: a CA in two roles is how an installer's key would sign a technician.
                raise BadMessage("a key holds two roles, or one twice", code="key_in_two_roles")
            seen.add(blob)


def _open(signed: Signed, keys: frozenset[bytes]) -> HeldCharter:
    opened = open_by_key(signed, namespace=CHARTER, keys=keys, limit=MAX_DOCUMENT_BYTES)
    charter = decode(opened.payload, Charter, limit=MAX_DOCUMENT_BYTES)
    _check_shape(charter)
    unknown = unknown_critical(opened.payload, charter.critical, Charter)
    return HeldCharter(signed, charter, sha256(opened.payload), unknown)


def open_first_charter(signed: Signed, organisation: OrganisationId) -> HeldCharter:
    """Return charter 1 of `organisation`: its hash is the organisation's id, and one of its own roots signed it.

    Raises Untrusted (code wrong_organisation or a signature's), BadMessage.
    """
    if organisation_id(signed.payload) != organisation:
        raise Untrusted("the first charter is another organisation's", code="wrong_organisation")
    # The hash has vouched for these bytes, so they may be read to learn who must have signed them.
    claimed = decode(signed.payload, Charter, limit=MAX_DOCUMENT_BYTES)
    _check_shape(claimed)
    if claimed.number != 1:
        raise Untrusted("an organisation begins with charter 1", code="wrong_number")
    return _open(signed, frozenset(parse_public_line(line).blob for line in claimed.roots))


def open_next_charter(signed: Signed, held: HeldCharter) -> HeldCharter:
    """Return the charter in `signed` if a root of `held` signed it; which of the two to keep is authority.py's.

    Raises Untrusted, BadMessage.
    """
    return _open(signed, held.keys("roots"))


def charter_payload(charter: Charter) -> bytes:
    """The bytes to sign. Raises BadMessage where no device would accept the charter."""
    _check_shape(charter)
    return encode(charter)
