"""Joining an organisation, and leaving it.

    parse the token -> make keys (kept) -> enrol at one of its relays -> verify what came back -> membership.json

membership.json is written last: a crash before it leaves a device that has not joined and keeps its keys, so joining
the same organisation again goes on with the same identity (joining.json says whom the keys were made for); a crash
after it leaves one that has. Another organisation never sees a key that was made for this one.
"""

from __future__ import annotations

import os
import platform

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.documents import Documents
from agent.membership import DeviceKeys, Membership, load_or_make_keys, machine_hash
from agent.release import BUILT_AT
from agent.state import StateDir
from agent.way import Way, forget_way, load_way, save_way
from protocol.api import MAX_LIST_BYTES, EnrolAnswer
from protocol.certificate import parse_certificate
from protocol.codec import Record, encode
from protocol.enrolment import EnrolProof, EnrolStatement, JoinToken, TokenGrant, read_token_grant
from protocol.errors import AuxilioError, ConfigInvalid, PeerFault, RelayUnreachable, Unavailable
from protocol.ids import OrganisationId
from protocol.keys import line_blob, public_line
from protocol.policy import Relay
from protocol.signing import KeySigner
from protocol.statement import ENROL, Signed, seal_statement
from protocol.system_clock import Clock
from transport.http import RelayClient
from transport.ways import Ways

KEPT_FOR_ONE = (
    "policy.json",
    "record.json",
    "forks.json",
    "floor.json",
    "reports.json",
    "spool.sqlite",
    "spool.sqlite-wal",
    "spool.sqlite-shm",
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


def enrol_statement(token: JoinToken, grant: TokenGrant, keys: DeviceKeys, now: float) -> Signed:
    """What the device sends: its keys, signed by the token's, and the proof that it holds them."""
    proof = EnrolProof(
        organisation=token.organisation,
        token=grant.token,
        sealing_key=keys.sealing_key,
        machine=machine_hash(),
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
    if state.read("membership.json") is not None:
        raise AlreadyJoined("this device has already joined an organisation")
    now = max(clock.now(), BUILT_AT)
    grant = read_grant(token, now)
    with state.locked():
        if state.read("membership.json") is not None:
            raise AlreadyJoined("this device has just joined an organisation")
        _begin(state, token)
        keys = load_or_make_keys(state, os.urandom)
        signed = enrol_statement(token, grant, keys, now)
        way = way or load_way(state)
        answer = await _enrol_anywhere(token, signed, way.ways)
        if answer.device != keys.device:
            raise PeerFault("the relay enrolled another device than this one")
        membership = Membership(
            organisation=token.organisation,
            device=keys.device,
            sealing_key=keys.sealing_key,
            token=grant.token,
            relays=token.relays,
            machine=machine_hash(),
            joined_at=int(now),
        )
        documents = Documents(state, membership, clock)
        documents.accept_charters(answer.charters)
        documents.accept_policy(answer.policy)
        documents.save()
        save_way(state, way)
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
    forget_way(state)
    _forget(state)


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
