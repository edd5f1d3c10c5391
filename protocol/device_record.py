"""The device record: an admin's signed word on a device, and how it is judged.

Without one a device is provisional: it reports, and a technician may reach it after a warning, but it has no tags,
gets no sealed secrets and no fleet jobs. A record outlives its signer's certificate, so the certificate is judged at
`issued_at`; a later revocation of the signer voids it only if it is a compromise (see revocation.py).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from protocol.charter import MAX_DOCUMENT_NUMBER
from protocol.codec import Strict, decode, encode
from protocol.errors import BadMessage, Refused
from protocol.ids import DeviceId, OrganisationId, Sha256, sha256
from protocol.policy import DEFAULT_MAX_CERTIFICATE_S
from protocol.selector import Facts, matches, parse_tag
from protocol.statement import DEVICE, CertificateRules, Signed, open_by_certificate
from protocol.technician import Technician, read_technician

MAX_RECORD_BYTES = 16 * 1024
MAX_TAGS = 64

PUBLISH_WITHIN_S = 3600
"""Between signing and a relay that takes the record: minutes in practice, an hour where a clock drifts."""

ACCEPT_WITHIN_S = 30 * 86_400
"""Between signing and a device that takes the record: it may have been off for weeks. No longer than certificates live,
so what a former technician can back-date ends a month after their certificate."""


class DeviceRecord(Strict, frozen=True, kw_only=True):
    """The payload signed in device@auxilio by a technician with the right `approve`.

    tags: "clinic" or "site=madrid", sorted, at most MAX_TAGS.  sealing_key: age X25519 recipient ("age1...").
    number: rises with every change.  issued_at: Unix seconds.  continues: the id that this device had before a
    reinstallation, whose history it goes on with.
    """

    version: int = 1
    organisation: OrganisationId
    device: DeviceId
    tags: tuple[str, ...] = ()
    sealing_key: str
    state: Literal["active"] = "active"
    number: int
    issued_at: int
    continues: DeviceId | None = None


class HeldRecord(msgspec.Struct, frozen=True):
    signed: Signed
    record: DeviceRecord
    signer: Technician
    sha256: Sha256


def _check_shape(record: DeviceRecord) -> None:
    if record.version != 1:
        raise BadMessage(f"device record version {record.version} is not known", code="unknown_version")
    if not 1 <= record.number <= MAX_DOCUMENT_NUMBER:
        raise BadMessage("a device record's number is out of bounds")
    if len(record.tags) > MAX_TAGS or len(set(record.tags)) != len(record.tags):
        raise BadMessage(f"a device has at most {MAX_TAGS} tags, each once")
    for tag in record.tags:
        parse_tag(tag)
    if record.continues == record.device:
        raise BadMessage("a device does not continue itself")
    if not record.sealing_key.startswith("age1") or len(record.sealing_key) > 100:
        raise BadMessage("a sealing key is an age X25519 recipient")


def record_payload(record: DeviceRecord) -> bytes:
    """The bytes to sign. Raises BadMessage where no device would accept the record."""
    _check_shape(record)
    return encode(record)


def facts_of(device: DeviceId, tags: tuple[str, ...] | None) -> Facts:
    """The signed facts of a device, which alone scopes and consent rules may look at. tags None: nobody knows."""
    return Facts(id=device, tags=None if tags is None else frozenset(tags))


def open_record(
    signed: Signed, *, rules: CertificateRules, organisation: OrganisationId, device: DeviceId
) -> HeldRecord:
    """Return the record in `signed` if a technician who could approve this device then signed it for `device`.

    The certificate must be valid at the record's own `issued_at`; `rules.revocations` apply with their `since`. How
    long it may live is judged by the most that there ever is: a policy that shortens it voids no record.
    Raises Untrusted, BadMessage, or Refused with code wrong_organisation, wrong_device, no_right, out_of_scope.
    """
    # The date is read before the signature is checked, only to say at which instant to check it.
    claimed = decode(signed.payload, DeviceRecord, limit=MAX_RECORD_BYTES)
    opened = open_by_certificate(
        signed,
        namespace=DEVICE,
        rules=msgspec.structs.replace(rules, max_validity_s=max(rules.max_validity_s, DEFAULT_MAX_CERTIFICATE_S)),
        now=claimed.issued_at,
        limit=MAX_RECORD_BYTES,
        long_lived=True,
    )
    record = decode(opened.payload, DeviceRecord, limit=MAX_RECORD_BYTES)
    _check_shape(record)
    if record.organisation != organisation:
        raise Refused("the device record is another organisation's", code="wrong_organisation")
    if record.device != device:
        raise Refused("the device record is another device's", code="wrong_device")
    signer = read_technician(opened.certificate)
    if "approve" not in signer.rights:
        raise Refused(f"{signer.name} has no right to approve devices", code="no_right")
    if not matches(signer.scope, facts_of(device, record.tags)):
        raise Refused(f"the device's tags are outside {signer.name}'s scope", code="out_of_scope")
    return HeldRecord(signed, record, signer, sha256(opened.payload))


def check_fresh(record: DeviceRecord, now: float, within_s: float) -> None:
    """Refuse to take over a record that was signed longer ago than `within_s` seconds, or as far in the future.

    A record is judged at its own date, so somebody whose certificate ended could back-date one for ever. Whoever
    takes a record over that they did not hold asks this; one that is held stays good.
    Raises Refused (record_stale).
    """
    if abs(now - record.issued_at) > within_s:
        raise Refused(
            "the device record was signed too long ago, or in the future",
            code="record_stale",
            hint="Sign it anew with `auxilio device tag`, and compare the clocks.",
        )


def may_replace(held: HeldRecord | None, new: HeldRecord) -> bool:
    """True where `new` takes the place of `held`: a higher number, by somebody whose scope covers the old tags too.

    Else a technician of one site could take a device of another over by re-tagging it.
    """
    if held is None:
        return True
    if new.record.number <= held.record.number:
        return False
    return matches(new.signer.scope, facts_of(held.record.device, held.record.tags))
