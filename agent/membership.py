"""Whom this device belongs to, and its own keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.state import NotJoined, StateDir
from protocol.codec import Record
from protocol.errors import AuxilioError
from protocol.ids import DeviceId, OrganisationId, TokenId, device_id
from protocol.policy import Relay
from protocol.signing import KeyRawSigner, SshsigSigner, load_private_key, private_key_pem

MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


class Membership(Record, frozen=True, kw_only=True):
    """Written once, when the device has joined. relays: the token's, until there is a policy.

    sealing_key: its age recipient.  machine: hash of the machine's id at that time.  joined_at: Unix seconds.
    """

    organisation: OrganisationId
    device: DeviceId
    sealing_key: str
    token: TokenId
    relays: tuple[Relay, ...]
    machine: str
    joined_at: int


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


def machine_hash() -> str:
    """Tells one machine from its clone, without telling anybody the machine's id. "" where there is none."""
    for path in MACHINE_ID_FILES:
        try:
            machine = path.read_text("ascii", "replace").strip()
        except OSError:
            continue
        if machine:
            return hashlib.sha256(b"auxilio machine " + machine.encode()).hexdigest()[:32]
    return ""


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
        raise NotJoined("this device has not joined an organisation")
    return membership
