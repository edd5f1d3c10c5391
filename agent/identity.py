"""The device's identity and the machine that it belongs to. Called by whoever holds the state directory's lock.

    another machine's state     put aside (aside-N), neither used nor destroyed; the device joins anew, provisional
    `same-machine`              the local root says that it is no copy: the newest one that was put aside comes back
    `prepare-image`             no identity at all, only a join token: each clone makes its own at its first start

Everything in the directory but the names in NOBODYS belongs to the identity, also what a later release adds: reports
that wait, the log, documents. membership.json moves last, either way, so what a crash interrupts is gone on with.
"""

from __future__ import annotations

import logging

import msgspec

from agent.journal import FileJournal
from agent.machine import Machine
from agent.membership import ASIDE, JOIN_TOKEN, Membership
from agent.state import StateDir
from protocol.errors import ConfigInvalid
from protocol.ids import DeviceId
from protocol.system_clock import Clock

log = logging.getLogger(__name__)

LEAVING, RETURNING = "aside.leaving", "aside.returning"
"""A folder while files are moved into it, and out of it."""

MEMBERSHIP = "membership.json"
NOBODYS = frozenset({"lock", "control.sock", JOIN_TOKEN, "lost+found", LEAVING, RETURNING})


class NothingAside(ConfigInvalid):
    code = "nothing_aside"
    default_hint = "`auxilio-agent status` shows how this device stands."


def settle(state: StateDir, here: Machine, clock: Clock) -> None:
    """At every start: end what a crash interrupted, and put aside what is another machine's."""
    _recover(state)
    membership = state.read_as(MEMBERSHIP, Membership)
    if membership is None or not here.is_another(membership.bound_to):
        return
    folder = _put_aside(state)
    journal = FileJournal(state.path / "journal.jsonl", clock.now)
    journal.record("put_aside", device=membership.device, folder=folder, joined_on=membership.machine, now=here.id)
    journal.close()
    log.warning("these files came from another machine: %s is put aside in %s", membership.device, state.path / folder)


def same_machine(state: StateDir, here: Machine, clock: Clock) -> DeviceId:
    """Bind to this machine what is another's by its ids, and return the device. Raises NothingAside, CorruptState."""
    _recover(state)
    membership = state.read_as(MEMBERSHIP, Membership)
    if membership is not None and here.is_another(membership.bound_to):
        state.write_as(MEMBERSHIP, _bound(membership, here))
    else:
        folder, membership = _newest_aside(state)
        state.write_as(f"{folder}/{MEMBERSHIP}", _bound(membership, here))
        state.move(folder, RETURNING)
        _bring_back(state)
    journal = FileJournal(state.path / "journal.jsonl", clock.now)
    journal.record("same_machine", device=membership.device)
    journal.close()
    return membership.device


def forget_aside(state: StateDir) -> list[str]:
    """Remove what was put aside, keys and all; return the folders."""
    folders = [*_aside(state), *(name for name in (LEAVING, RETURNING) if name in state.entries())]
    for name in folders:
        state.remove_folder(name)
    return folders


def forget_identity(state: StateDir) -> list[str]:
    """Remove everything but the join token, and return what it was. membership.json first: then it has not joined."""
    names = _of_identity(state)
    for name in sorted(names, key=lambda name: name != MEMBERSHIP):
        if (state.path / name).is_dir() and not (state.path / name).is_symlink():
            state.remove_folder(name)
        else:
            state.remove(name)
    return [*names, *forget_aside(state)]


def _bound(membership: Membership, here: Machine) -> Membership:
    return msgspec.structs.replace(membership, machine=here.id, hardware=here.hardware)


def _of_identity(state: StateDir) -> list[str]:
    return [name for name in state.entries() if name not in NOBODYS and not ASIDE.match(name)]


def _aside(state: StateDir) -> list[str]:
    """Oldest first."""
    found = [match for name in state.entries() if (match := ASIDE.match(name))]
    return [match[0] for match in sorted(found, key=lambda match: int(match[1]))]


def _newest_aside(state: StateDir) -> tuple[str, Membership]:
    for folder in reversed(_aside(state)):
        membership = state.read_as(f"{folder}/{MEMBERSHIP}", Membership)
        if membership is not None:
            return folder, membership
    raise NothingAside("nothing was put aside: there is no other identity to take back")


def _put_aside(state: StateDir) -> str:
    """Move the identity away, or go on with it; return the folder's name."""
    for name in sorted(_of_identity(state), key=lambda name: name == MEMBERSHIP):
        state.move(name, f"{LEAVING}/{name}")
    last = _aside(state)[-1:] or ["aside-0"]
    folder = f"aside-{int(last[0].removeprefix('aside-')) + 1}"
    state.move(LEAVING, folder)
    return folder


def _bring_back(state: StateDir) -> None:
    """Move an identity back from RETURNING, or go on with it; what is in its place is put aside first."""
    returning = state.entries(RETURNING)
    if set(returning) & set(state.entries()):  # what came back already is not in both
        _put_aside(state)
    for name in sorted(returning, key=lambda name: name == MEMBERSHIP):
        state.move(f"{RETURNING}/{name}", name)
    state.remove_folder(RETURNING)


def _recover(state: StateDir) -> None:
    entries = state.entries()
    if LEAVING in entries:
        _put_aside(state)
    if RETURNING in entries:
        _bring_back(state)
