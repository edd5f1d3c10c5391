"""Replacing a role's key in two steps, so that nobody is locked out in between.

    begin    charter n+1 lists the old key and a new one; from now on the new one signs and issues
             ... devices and consoles fetch it; certificates are renewed by the new CA ...
    finish   charter n+2 drops the old key

A stolen key is dropped in one step (`compromised`). Where it is the policy key, the same charter begins a new epoch
from a policy that we vouch for, so that nothing the thief signed counts, whatever its number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from console.authority.initialise import fresh_name, make_role_key
from console.authority.policies import next_policy
from console.authority.store import CHARTER_FIELDS, Role, RoleKey, Store
from console.passphrase import Passphrases
from console.ssh_agent import agent_key, agent_signer
from protocol.charter import Charter, PolicyBase
from protocol.errors import ConfigInvalid, Refused
from protocol.keys import public_line
from protocol.policy import HeldPolicy
from protocol.signing import RawSigner

Step = Literal["begin", "finish", "compromised"]


class Rotation(msgspec.Struct, frozen=True):
    """root_file: where the offline root was mounted.  agent: the new key's fingerprint in ssh-agent, or None: a file.

    passphrase: of the new file, or None.  now: Unix seconds.
    """

    role: Role
    step: Step
    now: int
    passphrase: bytes | None = None
    root_file: Path | None = None
    agent: str | None = None


def rotate(store: Store, plan: Rotation, passphrases: Passphrases) -> list[str]:
    """Carry out one step. Returns what was done, one line each. Raises ConfigInvalid, Refused, Unavailable."""
    root = store.root_signer(passphrases, plan.root_file)
    if plan.step == "finish":
        return _finish(store, plan, root, passphrases)
    if plan.role in ("root", "spare_root") and plan.step == "compromised":
        return _replace_root(store, plan, root)
    return _begin(store, plan, root, passphrases)


def _begin(store: Store, plan: Rotation, root: RawSigner, passphrases: Passphrases) -> list[str]:
    if any(key.role == plan.role and key.retiring for key in store.keys):
        raise Refused(
            f"a rotation of {plan.role} is under way", code="rotation_under_way", hint="Finish it first: --finish"
        )
    old = store.active(plan.role)
    new, new_signer = _new_key(store, plan)
    lines = _lines(store, plan.role)
    kept = [line for line in lines if line != old.public] if plan.step == "compromised" else lines
    base = store.policy if plan.role == "policy" and plan.step == "compromised" else None
    # Keys first: a charter that names a key which nobody can find again would be worse than an unused key.
    store.save_keys([*store.keys, msgspec.structs.replace(new, retiring=True)])
    store.add_charter(_next_charter(store, plan.now, {CHARTER_FIELDS[plan.role]: (*kept, new.public)}, base), root)
    others = [key for key in store.keys if key.public not in (old.public, new.public)]
    retired = [msgspec.structs.replace(old, retiring=True)] if plan.step == "begin" else []
    store.save_keys([*others, *retired, new])
    done = [f"charter {store.charter.charter.number} lists a new key for {plan.role}"]
    if plan.step == "compromised":
        done.append(f"the old key for {plan.role} counts for nothing from that charter on")
    if plan.role == "policy":
        store.add_policy(next_policy(store.authority, now=plan.now), new_signer)
        done.append(f"policy {store.policy.policy.number} is signed by the new key")
    return done


def _finish(store: Store, plan: Rotation, root: RawSigner, passphrases: Passphrases) -> list[str]:
    leaving = {key.public for key in store.keys if key.role == plan.role and key.retiring}
    if not leaving:
        raise Refused(f"no rotation of {plan.role} is under way", code="no_rotation", hint="Begin without --finish.")
    if plan.role in ("root", "spare_root") and public_line(root.public) in leaving:
        root = store.signer(plan.role, passphrases)
    kept = tuple(line for line in _lines(store, plan.role) if line not in leaving)
    if not kept:
        raise Refused(f"nothing would be left for {plan.role}", code="no_rotation", hint="auxilio authority show")
    store.add_charter(_next_charter(store, plan.now, {CHARTER_FIELDS[plan.role]: kept}, None), root)
    store.save_keys([key for key in store.keys if key.public not in leaving])
    return [f"charter {store.charter.charter.number} drops the old key for {plan.role}"]


def _replace_root(store: Store, plan: Rotation, root: RawSigner) -> list[str]:
    """One root was stolen; the other one, `root`, drops it and names a new one. Both stolen is another organisation."""
    old = store.active(plan.role)
    if public_line(root.public) == old.public:
        raise ConfigInvalid(
            f"the stolen {plan.role} cannot drop itself",
            code="wrong_root",
            hint="Sign with the other root: --root FILE",
        )
    new, _ = _new_key(store, plan)
    store.save_keys([*store.keys, msgspec.structs.replace(new, retiring=True)])
    kept = tuple(line for line in _lines(store, plan.role) if line != old.public)
    store.add_charter(_next_charter(store, plan.now, {"roots": (*kept, new.public)}, None), root)
    store.save_keys([*(key for key in store.keys if key.public not in (old.public, new.public)), new])
    return [f"charter {store.charter.charter.number} drops the old {plan.role} and lists a new one"]


def _lines(store: Store, role: Role) -> tuple[str, ...]:
    lines: tuple[str, ...] = getattr(store.charter.charter, CHARTER_FIELDS[role])
    return lines


def _next_charter(store: Store, now: int, fields: dict[str, tuple[str, ...]], base: HeldPolicy | None) -> Charter:
    held = store.charter
    return msgspec.structs.replace(
        held.charter,
        number=held.charter.number + 1,
        previous=held.sha256,
        issued_at=now,
        policy_base=PolicyBase(number=base.policy.number, sha256=base.sha256) if base else None,
        time_floor_at=None,
        **fields,
    )


def _new_key(store: Store, plan: Rotation) -> tuple[RoleKey, RawSigner]:
    if plan.agent is None:
        return make_role_key(store.folder, plan.role, fresh_name(plan.role), plan.passphrase)
    blob = agent_key(plan.agent)
    signer = agent_signer(blob)
    if signer is None:
        raise ConfigInvalid("ssh-agent lost the key", code="no_such_key", hint="ssh-add -l")
    return RoleKey(role=plan.role, public=public_line(blob)), signer
