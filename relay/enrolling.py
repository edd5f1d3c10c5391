"""A device joins: the token's chain is verified, its uses are counted, and it is provisional from then on."""

from __future__ import annotations

from protocol.api import EnrolAnswer, Event
from protocol.enrolment import verify_enrolment
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
