"""Reaching a device: the signed session request, and the leg that it opens. The same for our client and stock ssh."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from typing import Protocol, TypeVar

import msgspec

from console.fleet import fetch_device, require_usable
from console.keys import statement_signer
from console.login import check_clock
from console.signed_in import Desk
from protocol.api import SessionNonce, SessionStarted
from protocol.codec import encode
from protocol.errors import AuxilioError, Refused, Unavailable, Untrusted
from protocol.ids import DeviceId, SessionId, random_id
from protocol.leg import Waiting
from protocol.session import MAX_REQUEST_LIFE_S, SessionRequest
from protocol.statement import SESSION, Signed, seal_statement
from protocol.text import escape
from transport.leg import Leg, open_leg
from transport.leg_dial import dial_leg
from transport.relay_address import RelayAddress, parse_address
from transport.resuming import RESUME_FOR_S, Resuming
from transport.websocket import Connection

NONCE_TRIES = 8
"""Of a device's nonces a small pool waits at the relay; where more technicians come at once, some have to ask again."""

NOT_NOW = frozenset(
    {"device_offline", "device_silent", "device_left", "console_left", "session_known", "session_over", "bad_ticket"}
)
"""Refusals of a relay's that say how things are at this moment, while a session is dialled again."""

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class Wish(msgspec.Struct, frozen=True):
    """What a technician wants. account: None takes the first of the certificate's.  ssh_key: public line to admit.

    provisional: they were warned, and go on.
    """

    device: DeviceId
    capabilities: tuple[str, ...]
    ssh_key: str
    purpose: str
    account: str | None = None
    case: str | None = None
    provisional: bool = False


class Reached(msgspec.Struct, frozen=True):
    device: DeviceId
    session: SessionId
    account: str
    leg: Leg


class Watcher(Protocol):
    """Whoever tells the person how it stands."""

    def ask(self, waiting: Waiting) -> None:
        """The customer is being asked."""

    def away(self) -> None:
        """The connection was lost, and is being made anew."""

    def back(self) -> None: ...


async def reach(desk: Desk, wish: Wish, watcher: Watcher, *, resume_for_s: float = RESUME_FOR_S) -> Reached:
    """Ask the device for a session and return its leg, spliced. It is dialled again for `resume_for_s` when it is lost.

    Raises Refused in the words of whoever refused, Unavailable, Untrusted.
    """
    device, nonce, info = await _together(
        fetch_device(desk, wish.device), desk.relay.session_nonce(wish.device), desk.relay.info()
    )
    check_clock(info.time, desk.clock.now())
    require_usable(device, provisional_allowed=wish.provisional)
    for attempt in range(NONCE_TRIES):
        try:
            request, signed, started = await _ask(desk, wish, nonce)
            break
        except Refused as exc:
            # Many technicians at once were lent the same one; the first of them has it, and nothing came of ours.
            if exc.reason != "nonce_unknown" or attempt == NONCE_TRIES - 1:
                raise
            nonce = await desk.relay.session_nonce(wish.device)
    try:
        leg = await open_leg(
            leg_address(desk, started),
            request.session,
            started.ticket,
            on_waiting=watcher.ask,
            resuming=Resuming(
                dial=lambda: _dial_again(desk, request, signed),
                for_s=resume_for_s,
                on_away=watcher.away,
                on_back=watcher.back,
            ),
        )
    except BaseException:
        await give_up(desk, request.session)
        raise
    return Reached(request.device, request.session, request.account, leg)


async def _dial_again(desk: Desk, request: SessionRequest, signed: Signed) -> Connection:
    """One attempt at another leg of a session that stands: the request that began it says that we are still the same.

    Raises Unavailable where that may help later.
    """
    await desk.relay.client.close()  # connections that were kept may have been lost with the leg
    try:
        started = await desk.relay.start_session(request.device, signed, resume=True)
        return await dial_leg(leg_address(desk, started), request.session, started.ticket)
    except Refused as exc:
        if exc.reason in NOT_NOW:
            raise Unavailable(exc.message, code=exc.reason) from exc
        raise


async def _ask(desk: Desk, wish: Wish, nonce: SessionNonce) -> tuple[SessionRequest, Signed, SessionStarted]:
    if (nonce.policy.epoch, nonce.policy.number) > _order(desk):
        await desk.refresh()
    now = int(desk.clock.now())
    request = SessionRequest(
        organisation=desk.trust.organisation,
        device=wish.device,
        session=SessionId(random_id(secrets.token_bytes(16))),
        purpose=wish.purpose,
        case=wish.case,
        capabilities=wish.capabilities,
        account=wish.account or desk.identity.technician.principals[0],
        ssh_key=wish.ssh_key,
        policy=desk.trust.authority.policy_order,
        nonce=nonce.nonce,
        issued_at=now,
        expires_at=now + MAX_REQUEST_LIFE_S,
    )
    signer = statement_signer(desk.identity.key, desk.identity.certificate.blob, desk.passphrases)
    signed = seal_statement(signer, SESSION, encode(request))
    started = await desk.relay.start_session(wish.device, signed)
    if started.session != request.session:
        raise Untrusted("the relay started another session than the one asked for", code="wrong_session")
    return request, signed, started


async def _together(
    a: Coroutine[None, None, A], b: Coroutine[None, None, B], c: Coroutine[None, None, C]
) -> tuple[A, B, C]:
    """All three answers, or the first one's error, with none left running behind it."""
    try:
        async with asyncio.TaskGroup() as tasks:
            one, two, three = tasks.create_task(a), tasks.create_task(b), tasks.create_task(c)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return one.result(), two.result(), three.result()


async def give_up(desk: Desk, session: SessionId) -> None:
    """Tell the relay that nobody waits any more, so that the customer is not asked for nothing. Best effort."""
    try:
        async with asyncio.timeout(5):
            await desk.relay.end_session(session)
    except (AuxilioError, TimeoutError):
        pass  # the relay hangs up a lone leg by itself


async def leave(desk: Desk, reached: Reached, *, failed: bool = False) -> None:
    """Close the session's leg. Where nothing can be said over it, the relay is told: the device would wait for us.

    failed: SSH did not come to an end in order, so whoever is at the other end of the leg may not be the device.
    """
    leg = reached.leg
    if leg.is_away:
        leg.abort()
        await give_up(desk, reached.session)
    leg.close()
    await leg.wait_closed()
    if failed or leg.error is not None:  # it broke, and we do not come again
        await give_up(desk, reached.session)


def leg_address(desk: Desk, started: SessionStarted) -> RelayAddress:
    """Where to dial: the relay in use, or another of the signed policy's. Raises Untrusted (unknown_relay)."""
    wanted = parse_address(started.leg_url)
    here = desk.relay.address
    if wanted.dialled_name == here.dialled_name:
        return here
    for entry in desk.trust.policy.policy.relays:
        address = desk.settings.ways.to(entry.url, entry.pin)
        if address.dialled_name == wanted.dialled_name:
            return address
    raise Untrusted(
        f"the relay sends us to {wanted.url}, which the policy does not name",
        code="unknown_relay",
        hint="An admin adds relays with `auxilio policy edit`.",
    )


def _order(desk: Desk) -> tuple[int, int]:
    order = desk.trust.authority.policy_order
    return order.epoch, order.number


async def why_ended(desk: Desk, session: SessionId) -> str | None:
    """What the relay and the device say of a session's end; None where they say nothing."""
    try:
        async with asyncio.timeout(5):
            answer = await desk.relay.session(session)
    except (AuxilioError, TimeoutError):
        return None
    return escape(answer.message or answer.reason) or None
