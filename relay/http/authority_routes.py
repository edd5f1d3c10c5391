"""Charters, policies, enrolment and logins: what strangers may ask for, because signatures decide on it."""

from __future__ import annotations

from protocol.api import (
    Charters,
    EnrolAnswer,
    Introduction,
    LoginAnswer,
    LoginNonce,
    Mail,
    Published,
    PublishPolicy,
    RelayInfo,
)
from protocol.errors import BadMessage
from protocol.ids import parse_sha256
from protocol.link import VERSIONS
from protocol.statement import Signed
from relay.enrolling import enrol, introduce
from relay.failures import NotFound
from relay.http.call import Call, Route
from relay.release import RELEASE
from relay.store.documents import MAX_SIGNED_BYTES

MAX_SMALL_SIGNED_BYTES = 48 * 1024
"""A signed statement of at most 16 KiB, and its certificate, in base64."""


async def info(call: Call) -> RelayInfo:
    return RelayInfo(time=call.services.clock.now(), versions=VERSIONS, names=call.services.names, release=RELEASE)


async def charters(call: Call) -> Charters:
    held = await call.services.authorities.get(call.organisation())
    return Charters(charters=tuple(document.signed for document in held.charters))


async def publish_charter(call: Call) -> Published:
    organisation = call.organisation()
    signed = await call.body(Signed)
    outcome, name = await call.services.authorities.publish_charter(organisation, signed)
    return Published(outcome=outcome.value, sha256=name)


async def policy(call: Call) -> Signed:
    held = await call.services.authorities.get(call.organisation())
    if held.policy is None:
        raise NotFound("the organisation has no policy yet", code="no_policy")
    return held.policy.signed


async def publish_policy(call: Call) -> Published:
    organisation = call.organisation()
    body = await call.body(PublishPolicy)
    outcome, name = await call.services.authorities.publish_policy(organisation, body.policy, body.expected)
    return Published(outcome=outcome.value, sha256=name)


async def introduce_device(call: Call) -> None:
    organisation = call.organisation()
    services = call.services
    await introduce(
        organisation,
        await call.body(Introduction),
        authorities=services.authorities,
        store=services.store,
        events=services.events,
        clock=services.clock,
    )


async def join(call: Call) -> EnrolAnswer:
    organisation = call.organisation()
    services = call.services
    return await enrol(
        organisation,
        await call.body(Signed),
        authorities=services.authorities,
        store=services.store,
        events=services.events,
        clock=services.clock,
    )


async def login_nonce(call: Call) -> LoginNonce:
    return await call.services.logins.nonce(call.organisation())


async def login(call: Call) -> LoginAnswer:
    organisation = call.organisation()
    return await call.services.logins.login(organisation, await call.body(Signed))


async def leave_mail(call: Call) -> None:
    try:
        fingerprint = parse_sha256(call.request.match_info["fingerprint"])
    except BadMessage as exc:
        raise BadMessage("a mailbox is named by the SHA-256 of its key, in hexadecimal") from exc
    await call.services.logins.leave_mail(call.login, fingerprint, await call.body(Mail))


async def fetch_mail(call: Call) -> Mail:
    return await call.services.logins.fetch_mail(call.login)


_ORGANISATION = "/v1/organisations/{organisation}"

ROUTES = (
    Route(
        method="GET",
        path="/v1/relay",
        who="stranger",
        handler=info,
        answer=RelayInfo,
        summary="What this relay is called, and what time it is there",
    ),
    Route(
        method="GET",
        path=f"{_ORGANISATION}/charters",
        who="stranger",
        handler=charters,
        answer=Charters,
        summary="All charters, ascending",
    ),
    Route(
        method="POST",
        path=f"{_ORGANISATION}/charters",
        who="stranger",
        handler=publish_charter,
        body=Signed,
        body_limit=MAX_SIGNED_BYTES,
        answer=Published,
        summary="Publish a charter; a root's signature is what lets you",
    ),
    Route(
        method="GET",
        path=f"{_ORGANISATION}/policy",
        who="stranger",
        handler=policy,
        answer=Signed,
        summary="The policy in force",
    ),
    Route(
        method="POST",
        path=f"{_ORGANISATION}/policy",
        who="stranger",
        handler=publish_policy,
        body=PublishPolicy,
        body_limit=MAX_SIGNED_BYTES,
        answer=Published,
        summary="Publish a policy in the place of the one that is expected; a policy key's signature is what lets you",
    ),
    Route(
        method="POST",
        path=f"{_ORGANISATION}/enrol",
        who="stranger",
        handler=join,
        body=Signed,
        body_limit=MAX_SMALL_SIGNED_BYTES,
        answer=EnrolAnswer,
        summary="A device joins with a token's signature",
    ),
    Route(
        method="POST",
        path=f"{_ORGANISATION}/introduce",
        who="stranger",
        handler=introduce_device,
        body=Introduction,
        body_limit=2 * MAX_SMALL_SIGNED_BYTES,
        summary="A device that was approved at another relay",
    ),
    Route(
        method="POST",
        path=f"{_ORGANISATION}/login/nonce",
        who="stranger",
        handler=login_nonce,
        answer=LoginNonce,
        summary="A challenge to log in with",
    ),
    Route(
        method="POST",
        path=f"{_ORGANISATION}/login",
        who="stranger",
        handler=login,
        body=Signed,
        body_limit=MAX_SMALL_SIGNED_BYTES,
        answer=LoginAnswer,
        summary="Log in with the signed challenge",
    ),
    Route(
        method="GET",
        path="/v1/mailbox",
        who="mailbox",
        handler=fetch_mail,
        answer=Mail,
        summary="The renewed certificate that waits for your key",
    ),
    Route(
        method="PUT",
        path="/v1/mailbox/{fingerprint}",
        who="technician",
        handler=leave_mail,
        body=Mail,
        summary="Leave a renewed certificate for whoever holds the key",
    ),
)
