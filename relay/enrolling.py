"""A device joins: the token's chain is verified, its uses are counted, and it is provisional from then on. One that
has joined at another relay introduces itself here, by the word of whoever approved it.
"""

from __future__ import annotations

from protocol.api import EnrolAnswer, Event, Introduction
from protocol.codec import decode
from protocol.device_record import open_record
from protocol.enrolment import MAX_ENROL_BYTES, EnrolStatement, verify_enrolment
from protocol.errors import Refused, Unavailable
from protocol.ids import OrganisationId
from protocol.statement import Signed
from protocol.system_clock import Clock
from relay import logs
from relay.authorities import Authorities
from relay.events import Events
from relay.store import devices
from relay.store.store import Store


async def enrol(
    organisation: OrganisationId,
    signed: Signed,
    *,
    authorities: Authorities,
    store: Store,
    events: Events,
    clock: Clock,
) -> EnrolAnswer:
    """Raises Untrusted, BadMessage, NotFound, Unavailable (no_policy), and Refused with the codes of
    verify_enrolment, token_used_up or device_revoked."""
    held = await authorities.get(organisation)
    now = clock.now()
    enrolment = verify_enrolment(signed, rules=held.authority.enrolment_rules(), organisation=organisation, now=now)
    if enrolment.device in held.revoked_devices:
        raise Refused(
            "this device was removed from the organisation",
            code="device_revoked",
            hint="It can join again with a new key: `auxilio-agent leave`, then `auxilio-agent join`.",
        )
    if held.policy is None:
        raise Unavailable("the organisation has no policy yet", code="no_policy", hint="An admin publishes it.")
    kept = await store.write(lambda c: devices.enrol(c, organisation, enrolment, signed, now))
    if not kept:
        raise Refused(
            "the join token has no uses left",
            code="token_used_up",
            hint="Ask for a new one: `auxilio join-token create`.",
        )
    logs.info("enrolled", organisation=organisation, device=enrolment.device, token=enrolment.grant.token)
    events.publish(Event(kind="device_enrolled", at=int(now), organisation=organisation, device=enrolment.device))
    return EnrolAnswer(
        device=enrolment.device,
        charters=tuple(document.signed for document in held.charters),
        policy=held.policy.signed,
        tags=enrolment.grant.tags,
    )


async def introduce(
    organisation: OrganisationId,
    introduction: Introduction,
    *,
    authorities: Authorities,
    store: Store,
    events: Events,
    clock: Clock,
) -> None:
    """Raises Untrusted, BadMessage, NotFound, and Refused as verify_enrolment and open_record do, device_revoked, or
    wrong_record."""
    held = await authorities.get(organisation)
    # Read before it is verified, only to know as of when: tokens are short-lived, and records are not.
    claimed = decode(introduction.enrolment.payload, EnrolStatement, limit=MAX_ENROL_BYTES)
    enrolment = verify_enrolment(
        introduction.enrolment,
        rules=held.authority.enrolment_rules(),
        organisation=organisation,
        now=claimed.issued_at,
    )
    if enrolment.device in held.revoked_devices:
        raise Refused("this device was removed from the organisation", code="device_revoked")
    rules = held.authority.technician_rules()
    record = open_record(introduction.record, rules=rules, organisation=organisation, device=enrolment.device)
    if record.record.sealing_key != claimed.sealing_key:
        raise Refused("the device record names another sealing key", code="wrong_record")
    now = clock.now()
    new = await store.write(
        lambda c: devices.introduce(c, organisation, enrolment, introduction.enrolment, record, now)
    )
    if new:
        logs.info("introduced", organisation=organisation, device=enrolment.device, record=record.record.number)
        events.publish(Event(kind="device_enrolled", at=int(now), organisation=organisation, device=enrolment.device))
