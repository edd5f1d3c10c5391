"""A device that has joined, without a relay: its state directory is written by the code that joining uses."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from agent.documents import Documents
from agent.membership import Membership, load_or_make_keys
from agent.state import StateDir
from protocol.certificate import parse_certificate
from protocol.ids import TokenId
from protocol.keys import line_blob
from protocol.policy import Relay
from protocol.system_clock import SystemClock
from tests.support.organisation import Organisation

NO_RELAY = Relay(url="https://127.0.0.1:9", pin="sha256:" + "0" * 64)

WRITTEN_BY_USE = frozenset({"lock", "journal.jsonl", "spool.sqlite", "spool.sqlite-wal", "spool.sqlite-shm"})
"""What commands and a start write although nothing happened."""


def join_offline(path: Path, organisation: Organisation) -> StateDir:
    """Make at `path` what `auxilio-agent join` leaves. The device is approved, tagged lab."""
    state = StateDir(path, make=True)
    keys = load_or_make_keys(state, os.urandom)
    token = organisation.join_token(NO_RELAY)
    membership = Membership(
        organisation=organisation.id,
        device=keys.device,
        sealing_key=keys.sealing_key,
        token=TokenId(parse_certificate(line_blob(token.certificate)).key_id),
        relays=token.relays,
        machine="",
        joined_at=organisation.now,
    )
    documents = Documents(state, membership, SystemClock())
    documents.accept_charters(organisation.charters)
    documents.accept_policy(organisation.policies[-1])
    documents.accept_record(organisation.record(keys.device, "lab", sealing_key=keys.sealing_key))
    documents.save()
    documents.keep_floor()
    state.write_as("membership.json", membership)
    return state


def contents(path: Path) -> dict[str, str]:
    """Every file of a state directory, by name and hash, except what use alone writes; the modes as well."""
    return {
        str(file.relative_to(path)): f"{file.stat().st_mode:o} {_hash(file)}"
        for file in sorted(path.rglob("*"))
        if file.name not in WRITTEN_BY_USE
    }


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
