"""Whom this device belongs to, and its own keys."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.machine import Machine
from agent.state import NotJoined, StateDir
from protocol.codec import Record
from protocol.errors import AuxilioError
from protocol.ids import DeviceId, OrganisationId, TokenId, device_id
from protocol.policy import Relay
from protocol.signing import KeyRawSigner, SshsigSigner, load_private_key, private_key_pem

JOIN_TOKEN = "join_token"
"""A token that serves more than one device is kept, so that a clone of this one can join by itself. 0600."""

ENROLMENT = "enrolment.json"
"""What the device joined with, as it was signed: by it, it introduces itself to a relay that does not know it."""

ASIDE = re.compile(r"aside-([1-9][0-9]{0,8})\Z")
"""Folders of identities that were put aside (identity.py)."""


class Membership(Record, frozen=True, kw_only=True):
    """Written once, when the device has joined. relays: the token's, until there is a policy.

    sealing_key: its age recipient.  machine, hardware: of the machine that it is bound to.  joined_at: Unix seconds.
    """

    organisation: OrganisationId
    device: DeviceId
    sealing_key: str
    token: TokenId
    relays: tuple[Relay, ...]
    machine: str
    hardware: str = ""
    joined_at: int

    @property
    def bound_to(self) -> Machine:
        return Machine(id=self.machine, hardware=self.hardware)


class DeviceKeys(msgspec.Struct, frozen=True):
    """signer: the device key.  sealing_identity: "AGE-SECRET-KEY-1...".  sealing_key: its recipient, "age1..."."""

    signer: KeyRawSigner
    sealing_identity: str
    sealing_key: str

    @property
    def device(self) -> DeviceId:
        return device_id(self.signer.public)

    def sshsig(self) -> SshsigSigner:
        return SshsigSigner(self.signer)


def load_or_make_keys(state: StateDir, entropy: Callable[[int], bytes]) -> DeviceKeys:
    """The device's keys; made at the first call, so that a join that was interrupted goes on with the same ones."""
    import pyrage

    pem = state.read("device_key")
    if pem is None:
        pem = private_key_pem(Ed25519PrivateKey.from_private_bytes(entropy(32)))
        state.write("device_key", pem)
    sealing = state.read("sealing_key")
    if sealing is None:
        sealing = str(pyrage.x25519.Identity.generate()).encode("ascii")
        state.write("sealing_key", sealing + b"\n")
    return _keys(state, pem, sealing)


def load_keys(state: StateDir, membership: Membership) -> DeviceKeys:
    """The keys of the device that joined. Raises CorruptState where they are missing or another device's."""
    files = {name: state.read(name) for name in ("device_key", "sealing_key")}
    for name, data in files.items():
        if data is None:
            raise state.corrupt(name, "it is missing")
    keys = _keys(state, files["device_key"] or b"", files["sealing_key"] or b"")
    if keys.device != membership.device:
        raise state.corrupt("device_key", f"it is not the key of {membership.device}")
    if keys.sealing_key != membership.sealing_key:
        raise state.corrupt("sealing_key", "it is not the one that this device joined with")
    return keys


def _keys(state: StateDir, pem: bytes, sealing: bytes) -> DeviceKeys:
    import pyrage

    try:
        key = load_private_key(pem)
    except AuxilioError as exc:
        raise state.corrupt("device_key", exc.message) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise state.corrupt("device_key", "it is no Ed25519 key")
    try:
        identity = pyrage.x25519.Identity.from_str(sealing.decode("ascii").strip())
    except (ValueError, pyrage.IdentityError) as exc:
        raise state.corrupt("sealing_key", "it is no age identity") from exc
    return DeviceKeys(KeyRawSigner(key), str(identity), str(identity.to_public()))


def load_membership(state: StateDir) -> Membership:
    """Raises NotJoined, CorruptState."""
    membership = state.read_as("membership.json", Membership)
    if membership is None:
        raise _not_joined(state)
    return membership


def _not_joined(state: StateDir) -> NotJoined:
    if state.read(JOIN_TOKEN) is not None:
        return NotJoined(
            "this device has not joined yet; it does so by itself, with the token that is kept here",
            code="join_waits",
            hint="Start `auxilio-agent run`, or look why it cannot reach a relay.",
        )
    if any(ASIDE.match(name) for name in state.entries()):
        return NotJoined(
            "the agent's files came from another machine, and were put aside: this device has to join anew",
            code="put_aside",
            hint="`auxilio-agent join TOKEN`; or, if it is the same machine after a repair, as root: "
            "`auxilio-agent same-machine`.",
        )
    return NotJoined("this device has not joined an organisation")
