"""Joining an organisation, and leaving it.

    parse the token -> make keys (kept) -> enrol at one of its relays -> verify what came back -> membership.json

membership.json is written last: a crash before it leaves a device that has not joined and keeps its keys, so joining
the same organisation again goes on with the same identity (joining.json says whom the keys were made for); a crash
after it leaves one that has. Another organisation never sees a key that was made for this one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import random

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.documents import Documents
from agent.identity import forget_aside, settle
from agent.machine import Machine
from agent.membership import ENROLMENT, JOIN_TOKEN, DeviceKeys, Membership, load_or_make_keys
from agent.platform import this_machine
from agent.release import BUILT_AT
from agent.state import StateDir
from agent.way import Way, forget_way, load_way, save_way
from protocol.api import MAX_LIST_BYTES, EnrolAnswer
from protocol.backoff import delay_s
from protocol.certificate import parse_certificate
from protocol.codec import Record, encode
from protocol.enrolment import EnrolProof, EnrolStatement, JoinToken, TokenGrant, parse_join_token, read_token_grant
from protocol.errors import AuxilioError, ConfigInvalid, PeerFault, RelayUnreachable, Unavailable
from protocol.ids import OrganisationId
from protocol.keys import line_blob, public_line
from protocol.policy import Relay
from protocol.signing import KeySigner
from protocol.statement import ENROL, Signed, seal_statement
from protocol.system_clock import Clock
from protocol.text import escape
from transport.http import RelayClient
from transport.ways import Ways

log = logging.getLogger(__name__)

KEPT_FOR_ONE = (
    "policy.json",
    "record.json",
    "forks.json",
    "floor.json",
    "reports.json",
    "outages.json",
    "spool.sqlite",
    "spool.sqlite-wal",
    "spool.sqlite-shm",
    ENROLMENT,
)
"""What an organisation is told or told us, besides the charters."""


class _Joining(Record, frozen=True, kw_only=True):
    organisation: OrganisationId


class AlreadyJoined(ConfigInvalid):
    code = "already_joined"
    default_hint = "`auxilio-agent status` shows to whom; `auxilio-agent leave` ends it."


def read_grant(token: JoinToken, now: float) -> TokenGrant:
    """What the token's certificate says; whether its CA is the organisation's, only the relay's charters can tell.

    Raises ConfigInvalid (bad_token, token_expired).
    """
    try:
        certificate = parse_certificate(line_blob(token.certificate))
        grant = read_token_grant(certificate)
    except AuxilioError as exc:
        raise ConfigInvalid(f"the join token is damaged: {exc.message}", code="bad_token") from exc
    if now >= grant.not_after_at:
        raise ConfigInvalid(
            "the join token has expired",
            code="token_expired",
            hint="Ask your support organisation for a new one; or is this device's date wrong?",
        )
    return grant


def enrol_statement(token: JoinToken, grant: TokenGrant, keys: DeviceKeys, here: Machine, now: float) -> Signed:
    """What the device sends: its keys, signed by the token's, and the proof that it holds them."""
    proof = EnrolProof(
        organisation=token.organisation,
        token=grant.token,
        sealing_key=keys.sealing_key,
        machine=here.id,
        hostname=platform.node()[:255],
        issued_at=int(now),
    )
    statement = EnrolStatement(
        **msgspec.structs.asdict(proof),
        device_key=public_line(keys.signer.public),
        proof=seal_statement(keys.sshsig(), ENROL, encode(proof)),
    )
    signer = KeySigner(Ed25519PrivateKey.from_private_bytes(token.key), line_blob(token.certificate))
    return seal_statement(signer, ENROL, encode(statement))


async def join(state: StateDir, token: JoinToken, clock: Clock, *, way: Way | None = None) -> Membership:
    """Join the token's organisation. Raises AlreadyJoined, ConfigInvalid, Refused, RelayUnreachable, Untrusted.

    way: kept once it has led to a relay; None: as it is kept already.  Safe to call again after any failure.
    """
    here = this_machine()
    membership = state.read_as("membership.json", Membership)
    if membership is not None and not here.is_another(membership.bound_to):
        raise AlreadyJoined("this device has already joined an organisation")
    read_grant(token, max(clock.now(), BUILT_AT))
    with state.locked():
        settle(state, here, clock)
        if state.read("membership.json") is not None:
            raise AlreadyJoined("this device has just joined an organisation")
        return await _join(state, token, clock, way or load_way(state))


def keep_token(state: StateDir, text: str, clock: Clock) -> None:
    """Keep the join token `text` for `join_by_itself`. For whoever holds the lock. Raises ConfigInvalid."""
    read_grant(parse_join_token(text), max(clock.now(), BUILT_AT))
    state.write(JOIN_TOKEN, text.strip().encode("ascii"))


async def join_by_itself(state: StateDir, clock: Clock) -> Membership | None:
    """Join with the token that is kept, however long no relay can be reached. None where none is kept, or it has
    joined. For whoever holds the lock. Raises as `join`, but RelayUnreachable, Unavailable and PeerFault.
    """
    text = state.read(JOIN_TOKEN)
    if text is None or state.read("membership.json") is not None:
        return None
    token = parse_join_token(text.decode("ascii", "replace"))
    attempt = 0
    while True:
        try:
            return await _join(state, token, clock, load_way(state))
        except (Unavailable, PeerFault) as exc:
            log.warning("cannot join yet: %s", escape(exc.message))
        await asyncio.sleep(delay_s(attempt, random.uniform))
        attempt += 1


async def _join(state: StateDir, token: JoinToken, clock: Clock, way: Way) -> Membership:
    now = max(clock.now(), BUILT_AT)
    grant, here = read_grant(token, now), this_machine()
    _begin(state, token)
    keys = load_or_make_keys(state, os.urandom)
    signed = enrol_statement(token, grant, keys, here, now)
    answer = await _enrol_anywhere(token, signed, way.ways)
    if answer.device != keys.device:
        raise PeerFault("the relay enrolled another device than this one")
    membership = Membership(
        organisation=token.organisation,
        device=keys.device,
        sealing_key=keys.sealing_key,
        token=grant.token,
        relays=token.relays,
        machine=here.id,
        hardware=here.hardware,
        joined_at=int(now),
    )
    documents = Documents(state, membership, clock)
    documents.accept_charters(answer.charters)
    documents.accept_policy(answer.policy)
    documents.save()
    state.write_as(ENROLMENT, signed)
    save_way(state, way)
    if grant.uses > 1:
        state.write(JOIN_TOKEN, token.text().encode("ascii"))
    else:
        state.remove(JOIN_TOKEN)
    state.write_as("membership.json", membership)
    state.remove("joining.json")
    return membership


def _begin(state: StateDir, token: JoinToken) -> None:
    """Leave what a join of this organisation that was interrupted made, and nothing else."""
    begun = state.read_as("joining.json", _Joining)
    if begun is None or begun.organisation != token.organisation:
        _forget(state)
        state.write_as("joining.json", _Joining(organisation=token.organisation))
    for name in state.names("charters"):  # they are accepted anew
        state.remove(f"charters/{name}")
    for name in ("policy.json", "forks.json"):
        state.remove(name)


async def _enrol_anywhere(token: JoinToken, signed: Signed, ways: Ways) -> EnrolAnswer:
    """At the first relay of the token that can be reached, and is the one. A refusal is an answer, and ends it."""
    failure: AuxilioError = RelayUnreachable("the join token names no relay")
    for relay in token.relays:
        try:
            return await _enrol(relay, token, signed, ways)
        except (Unavailable, PeerFault) as exc:
            failure = exc
    raise failure


async def _enrol(relay: Relay, token: JoinToken, signed: Signed, ways: Ways) -> EnrolAnswer:
    async with RelayClient(ways.to(relay.url, relay.pin)) as client:
        path = f"/v1/organisations/{token.organisation}/enrol"
        return await client.request("POST", path, EnrolAnswer, body=signed, limit=MAX_LIST_BYTES)


def leave(state: StateDir) -> None:
    """Forget the organisation and the device's keys. The journal stays, as a record of what happened here."""
    state.remove("membership.json")  # first: from here on it has not joined, whatever else is interrupted
    state.remove("joining.json")
    state.remove(JOIN_TOKEN)  # else the next start would join again
    forget_way(state)
    _forget(state)
    forget_aside(state)


def leave_is_unfinished(state: StateDir) -> bool:
    """A `leave` that was interrupted left keys behind that belong to nobody."""
    return (
        state.read("membership.json") is None
        and state.read("joining.json") is None
        and any(state.read(name) is not None for name in ("device_key", "sealing_key"))
    )


def _forget(state: StateDir) -> None:
    for name in (*KEPT_FOR_ONE, "device_key", "sealing_key"):
        state.remove(name)
    for name in state.names("charters"):
        state.remove(f"charters/{name}")
