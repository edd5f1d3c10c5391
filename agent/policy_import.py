"""A policy that was carried by hand, taken over where no agent runs to be asked."""

from __future__ import annotations

from pathlib import Path

from agent.documents import Documents
from agent.membership import load_membership
from agent.state import StateDir
from protocol.codec import decode
from protocol.errors import BadMessage, ConfigInvalid
from protocol.policy import PolicyBundle
from protocol.system_clock import SystemClock


def check_bundle(text: str) -> None:
    """Whether it is one at all; what is in it, the agent judges. Raises ConfigInvalid."""
    try:
        decode(text.encode(), PolicyBundle, limit=len(text) * 4)
    except BadMessage as exc:
        hint = "It has to be what `auxilio policy export` wrote, whole."
        raise ConfigInvalid(f"this is no policy: {exc.message}", hint=hint, code="bad_policy") from exc


def import_offline(path: Path, text: str) -> dict[str, object]:
    """Raises NotJoined, CorruptState, AlreadyRunning, Untrusted, BadMessage."""
    state = StateDir(path)
    membership = load_membership(state)
    with state.locked():
        documents = Documents(state, membership, SystemClock())
        try:
            outcome = documents.accept_bundle(text.encode())
        finally:
            documents.save()
    return {"outcome": outcome.value, "number": documents.authority.policy_order.number}
