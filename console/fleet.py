"""What the relay says of a device, judged: its key against its id, its record, its report, each by its signature.

api.Device  --judge-->  JudgedDevice     every fault is kept as a text to show, none is believed past it
"""

from __future__ import annotations

import msgspec

from console.known_devices import KnownDevices
from console.signed_in import Desk
from console.trust import Trust
from protocol.api import Device, Presence
from protocol.codec import decode
from protocol.device_record import MAX_RECORD_BYTES, DeviceRecord, HeldRecord
from protocol.enrolment import MAX_ENROL_BYTES, EnrolStatement, open_proof
from protocol.errors import AuxilioError, PeerFault, Refused, Untrusted
from protocol.ids import DeviceId, Sha256, device_id
from protocol.keys import parse_public_line
from protocol.report import Report, SectionRef, open_report
from protocol.sections.base import Section
from protocol.sections.catalogue import decode_section
from protocol.text import escape

MAX_BELIEVED_NUMBER = 10**9
"""Of a record that does not verify: a device re-tagged every second for thirty years."""


class JudgedDevice(msgspec.Struct, frozen=True):
    """id: proven by device_key.  record, report: verified, or None with the fault that says why.

    next_number: of the record that would follow the highest known, verified or not.
    presence: the relay's own word.  hostname, os, ram: for lists; said by the device through the relay, unverified.
    """

    id: DeviceId
    device_key: str
    told: Device
    record: HeldRecord | None
    record_fault: str | None
    report: Report | None
    report_fault: str | None
    revoked: bool
    next_number: int

    @property
    def presence(self) -> Presence:
        return self.told.presence

    @property
    def state(self) -> str:
        if self.revoked:
            return "removed"
        if self.record is not None:
            return "approved"
        return "provisional" if self.record_fault is None else "unverified"

    @property
    def tags(self) -> tuple[str, ...]:
        return self.record.record.tags if self.record is not None else ()

    @property
    def continues(self) -> DeviceId | None:
        """The id that its record says it had before it was reinstalled."""
        return self.record.record.continues if self.record is not None else None


def judge(told: Device, trust: Trust, known: KnownDevices) -> JudgedDevice:
    """Raises PeerFault (wrong_key) where the key is not the id's: then nothing about it can be believed."""
    if device_id(parse_public_line(told.device_key).blob) != told.id:
        raise PeerFault(f"the relay shows a key that is not that of {escape(told.id, limit=40)}", code="wrong_key")
    record, record_fault = _record(told, trust, known)
    report, report_fault = _report(told, trust)
    return JudgedDevice(
        id=told.id,
        device_key=told.device_key,
        told=told,
        record=record,
        record_fault=record_fault,
        report=report,
        report_fault=report_fault,
        revoked=trust.authority.revocations.device_revoked(told.id),
        next_number=max(known.number(told.id), _claimed_number(told)) + 1,
    )


def _record(told: Device, trust: Trust, known: KnownDevices) -> tuple[HeldRecord | None, str | None]:
    if told.record is None:
        return None, None
    try:
        record = trust.open_record(told.record, told.id)
        statement = decode(told.enrolment.payload, EnrolStatement, limit=MAX_ENROL_BYTES)
        if open_proof(statement) != told.id or statement.sealing_key != record.record.sealing_key:
            raise Untrusted("the record's sealing key is not the one that the device signed", code="wrong_sealing_key")
        known.judge(record)
    except AuxilioError as exc:
        return None, exc.message
    return record, None


def _claimed_number(told: Device) -> int:
    """The number in the record that the relay shows, void or not: one that follows it must be higher.

    Nobody vouches for it, so a jump that would soon leave no higher number counts for nothing.
    """
    if told.record is None:
        return 0
    try:
        number = decode(told.record.payload, DeviceRecord, limit=MAX_RECORD_BYTES).number
    except PeerFault:
        return 0
    return number if 0 < number < MAX_BELIEVED_NUMBER else 0


def _report(told: Device, trust: Trust) -> tuple[Report | None, str | None]:
    if told.report is None:
        return None, None
    try:
        return (
            open_report(told.report, organisation=trust.organisation, device=told.id, device_key=told.device_key),
            None,
        )
    except AuxilioError as exc:
        return None, exc.message


async def fetch_device(desk: Desk, device: DeviceId) -> JudgedDevice:
    """One device, judged. Raises what the relay client does, and PeerFault."""
    told = await desk.relay.device(device)
    known = KnownDevices(desk.home)
    judged = judge(told, desk.trust, known)
    known.save()
    return judged


async def fetch_section(desk: Desk, name: str, ref: SectionRef) -> Section:
    """A section that a verified report names. Raises Untrusted (wrong_hash) for other bytes, BadMessage."""
    data = await desk.relay.section(Sha256(ref.sha256))
    return decode_section(name, data)


def require_usable(judged: JudgedDevice, *, provisional_allowed: bool) -> None:
    """Raises Refused (device_removed, provisional) or Untrusted: before a technician's key signs anything for it."""
    if judged.revoked:
        raise Refused(f"{judged.id} was removed", code="device_removed", hint="Its policy refuses sessions, too.")
    if judged.record is not None or provisional_allowed:
        return
    if judged.record_fault is not None:
        raise Untrusted(
            f"the record of {judged.id} does not verify: {judged.record_fault}",
            code="bad_record",
            hint="Compare the id with the device's own screen, then --provisional.",
        )
    raise Refused(
        f"{judged.id} is provisional: no admin has vouched for it",
        code="provisional",
        hint="Compare the id with the device's `auxilio-agent status`; then --provisional or `auxilio device approve`.",
    )
