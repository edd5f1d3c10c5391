"""Device records as a technician makes them: the enrolment checked, the next record put together, signed."""

from __future__ import annotations

import msgspec

from console.fleet import JudgedDevice
from console.keys import statement_signer
from console.signed_in import Desk
from console.trust import Trust
from protocol.codec import decode
from protocol.device_record import DeviceRecord, record_payload
from protocol.enrolment import MAX_ENROL_BYTES, EnrolStatement, VerifiedEnrolment, verify_enrolment
from protocol.errors import Refused, Untrusted
from protocol.ids import DeviceId
from protocol.statement import DEVICE, Signed, seal_statement


class CheckedEnrolment(msgspec.Struct, frozen=True):
    """tags: what the enrolment CA signed as a suggestion; the relay's own word on them is not used."""

    statement: EnrolStatement
    tags: tuple[str, ...]
    warnings: tuple[str, ...]


def check_enrolment(judged: JudgedDevice, trust: Trust, now: float) -> CheckedEnrolment:
    """Return how the device joined, if it joined with a token of this organisation. now: Unix seconds.

    A token that expired since is judged at the date that the device itself signed, which may be wrong or a lie: then
    the person is told to compare the id.  Raises Untrusted, Refused, BadMessage.
    """
    signed = judged.told.enrolment
    warnings: tuple[str, ...] = ()
    try:
        verified = _verify(signed, trust, now)
    except Untrusted as exc:
        if exc.reason != "expired":
            raise
        claimed = decode(signed.payload, EnrolStatement, limit=MAX_ENROL_BYTES)
        verified = _verify(signed, trust, min(float(claimed.issued_at), now))
        warnings = ("its join token has expired since: compare the id with the device's own screen",)
    if verified.device != judged.id:
        raise Untrusted("the enrolment is another device's", code="wrong_device")
    return CheckedEnrolment(statement=verified.statement, tags=verified.grant.tags, warnings=warnings)


def _verify(signed: Signed, trust: Trust, now: float) -> VerifiedEnrolment:
    rules = trust.authority.enrolment_rules()
    return verify_enrolment(signed, rules=rules, organisation=trust.organisation, now=now)


def next_record(
    judged: JudgedDevice,
    trust: Trust,
    *,
    tags: tuple[str, ...],
    sealing_key: str,
    continues: DeviceId | None,
    now: float,
) -> DeviceRecord:
    """The record that follows whatever record there is, with everything in it said anew."""
    return DeviceRecord(
        organisation=trust.organisation,
        device=judged.id,
        tags=tuple(sorted(tags)),
        sealing_key=sealing_key,
        number=judged.next_number,
        issued_at=int(now),
        continues=continues,
    )


def seal_record(desk: Desk, record: DeviceRecord) -> Signed:
    """Sign with the technician's key. Raises Refused (no_right) before a key is asked for."""
    if "approve" not in desk.identity.technician.rights:
        raise Refused(
            f"{desk.identity.name} has no right to approve devices",
            code="no_right",
            hint="An admin grants it: `auxilio technician add ... --may approve,...`",
        )
    signer = statement_signer(desk.identity.key, desk.identity.certificate.blob, desk.passphrases)
    signed = seal_statement(signer, DEVICE, record_payload(record))
    desk.trust.open_record(signed, record.device)  # judged as the device will: scope and right are said here
    return signed
