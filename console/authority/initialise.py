"""Beginning an organisation: five keys, charter 1, policy 1. All of it appears in one step, or nothing does."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from console.authority.documents import write_document
from console.authority.store import (
    CHARTER_FIELDS,
    FOLDER,
    KEYS_FILE,
    ROLES,
    Role,
    RoleKey,
    RoleKeys,
    Store,
    write_allowed_signers,
)
from console.home import Home, file_errors, make_folder, sync_folder, write_file
from console.keys import write_key
from console.ssh_agent import agent_key, agent_signer
from protocol.charter import Charter, charter_payload
from protocol.codec import encode
from protocol.errors import ConfigInvalid
from protocol.keys import public_line
from protocol.policy import DEFAULT_FORWARD, ConsentRule, Policy, Relay, policy_payload
from protocol.signing import KeyRawSigner, RawSigner, SshsigSigner
from protocol.statement import CHARTER, POLICY, seal_statement


class Plan(msgspec.Struct, frozen=True):
    """What to begin with. agents: roles whose key is in ssh-agent, by fingerprint; the others get a new file.

    passphrase: of every file made, or None.  issued_at: Unix seconds.  policy_life_s: seconds.
    """

    issued_at: int
    policy_life_s: int
    relays: tuple[Relay, ...]
    consent: tuple[ConsentRule, ...] = ()
    agents: Mapping[Role, str] = {}
    passphrase: bytes | None = None


def initialise(home: Home, plan: Plan) -> Store:
    """Make the authority. Raises ConfigInvalid (authority_exists), and what keys and files raise.

    A crash leaves a folder `.authority.*` behind and no authority.
    """
    final = home.file(FOLDER)
    if final.exists():
        # A second init would begin another organisation over the first one's keys.
        raise ConfigInvalid(
            f"{final} exists already",
            code="authority_exists",
            hint="An organisation begins once. For a second one: auxilio --home DIR authority init",
        )
    with file_errors(final):
        make_folder(home.path)
        draft = Path(tempfile.mkdtemp(dir=home.path, prefix=f".{FOLDER}."))
        try:
            _fill(draft, plan)
            sync_folder(draft)
            os.rename(draft, final)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        sync_folder(home.path)
    return Store(final)


def _fill(folder: Path, plan: Plan) -> None:
    signers: dict[Role, RawSigner] = {}
    keys: list[RoleKey] = []
    for role in ROLES:
        key, signers[role] = _role_key(folder, role, plan)
        keys.append(key)
    write_file(folder / KEYS_FILE, encode(RoleKeys(keys=tuple(keys))) + b"\n")

    lines: dict[str, list[str]] = {}
    for key in keys:
        lines.setdefault(CHARTER_FIELDS[key.role], []).append(key.public)
    charter = Charter(number=1, issued_at=plan.issued_at, **{field: tuple(each) for field, each in lines.items()})  # type: ignore[arg-type]  # the fields of CHARTER_FIELDS are tuples of lines
    signed = seal_statement(SshsigSigner(signers["root"]), CHARTER, charter_payload(charter))
    write_document(folder / "charters" / "1", "charter", signed)
    write_allowed_signers(folder, charter)

    policy = Policy(
        number=1,
        issued_at=plan.issued_at,
        expires_at=plan.issued_at + plan.policy_life_s,
        relays=plan.relays,
        consent=plan.consent,
        forward=DEFAULT_FORWARD,
    )
    signed = seal_statement(SshsigSigner(signers["policy"]), POLICY, policy_payload(policy))
    write_document(folder / "policies" / "0.1", "policy", signed)


def _role_key(folder: Path, role: Role, plan: Plan) -> tuple[RoleKey, RawSigner]:
    named = plan.agents.get(role)
    if named is None:
        return make_role_key(folder, role, role, plan.passphrase)
    blob = agent_key(named)
    signer = agent_signer(blob)
    if signer is None:
        raise ConfigInvalid(f"ssh-agent lost the key for {role}", code="no_such_key", hint="ssh-add -l")
    return RoleKey(role=role, public=public_line(blob)), signer


def make_role_key(folder: Path, role: Role, name: str, passphrase: bytes | None) -> tuple[RoleKey, RawSigner]:
    """A new Ed25519 key in folder/name and name.pub."""
    private = Ed25519PrivateKey.generate()
    signer = KeyRawSigner(private)
    line = public_line(signer.public)
    write_key(folder / name, private, line, f"auxilio-{name.replace('_', '-')}", passphrase)
    return RoleKey(role=role, public=line, file=name), signer


def fresh_name(role: Role) -> str:
    """A file name for the successor of a role's key."""
    return f"{role}-{secrets.token_hex(4)}"
