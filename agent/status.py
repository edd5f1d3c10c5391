"""What `auxilio-agent status` shows: from the agent that runs, or from its files where none does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.documents import Documents
from agent.membership import Membership
from agent.platform import this_machine
from agent.release import RELEASE
from agent.spool import SpoolStatus
from agent.way import Way
from protocol.time_floor import BEHIND_S

if TYPE_CHECKING:
    from agent.link_driver import LinkDriver
    from agent.session.desk import SessionDesk


def files_status(
    membership: Membership, documents: Documents, way: Way, spool: SpoolStatus | None, spool_failure: str = ""
) -> dict[str, Any]:
    """What the state directory alone can tell. spool: None where it cannot be read, and its fields are null then."""
    policy, record = documents.authority.policy, documents.record
    order = documents.authority.policy_order
    behind_s = documents.clock_behind_s()
    return {
        "agent": RELEASE,
        "running": False,
        "device": membership.device,
        "organisation": membership.organisation,
        "joined_at": membership.joined_at,
        "provisional": record is None,
        "tags": list(record.record.tags) if record else [],
        "charter": documents.authority.charter_number,
        "policy": {"epoch": order.epoch, "number": order.number},
        "policy_expires_at": policy.policy.expires_at if policy else None,
        "restricted_by": sorted(documents.authority.restricted),
        "forks": list(documents.authority.forks),
        "relays": [relay.url for relay in documents.relays()],
        "relay_addresses": list(way.addresses),
        "pins": {relay.url: relay.pin for relay in documents.relays()},
        "clock_behind_s": round(behind_s) if behind_s > BEHIND_S else 0,
        "spool": msgspec.to_builtins(spool) if spool else dict.fromkeys(SpoolStatus.__struct_fields__),
        "spool_failure": spool_failure,
        "machine_changed": this_machine().is_another(membership.bound_to),
    }


def running_status(files: dict[str, Any], link: LinkDriver, desk: SessionDesk) -> dict[str, Any]:
    """What the running agent knows besides. files: as of files_status."""
    machine = link.machine
    return {
        **files,
        "running": True,
        "linked": link.linked,
        "link_state": machine.state.value,
        "since_at": machine.since_at,
        "relay": machine.relay.url if machine.relay else None,
        "proxy": link.address.proxy.url if link.address is not None and link.address.proxy is not None else None,
        "last_failure": machine.last_failure,
        "offline_reason": machine.offline_reason,
        "offline_since_at": machine.offline_since_at,
        "sessions": [msgspec.to_builtins(session) for session in desk.live()],
        "waiting": [msgspec.to_builtins(question) for question in desk.waiting()],
        "unknown_messages": link.unknown_messages,
    }
