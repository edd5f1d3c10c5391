"""Bringing charters and policies to the relays that the policy names. Compare-and-swap: nobody's change is lost.

No login is needed: what publishes is the signature. A relay that cannot be reached keeps nothing back for long, since
any other relay, or the next `auxilio policy publish`, brings the same documents.
"""

from __future__ import annotations

import msgspec

from console.authority.store import Store
from console.home import Home
from console.relay_client import Relay
from console.settings import load_settings
from console.trust import load_trust, order_text
from protocol.authority import Outcome
from protocol.codec import MAX_DOCUMENT_BYTES, decode
from protocol.errors import AuxilioError, Refused
from protocol.ids import sha256
from protocol.link import PolicyNumber
from protocol.policy import Policy
from protocol.policy import Relay as RelayEntry
from protocol.statement import Signed
from transport.http import RelayClient


class Published(msgspec.Struct, frozen=True):
    """url: of the relay.  error: why it did not take them, or None."""

    url: str
    error: AuxilioError | None


async def adopt_from_relays(store: Store, home: Home) -> list[str]:
    """Fetch what other admins published meanwhile, so that the next policy follows theirs. Returns what to tell.

    A relay that cannot be reached is not waited for, and one that hands out nonsense is named.
    """
    told = []
    ways = load_settings(home).ways
    for entry in store.policy.policy.relays:
        try:
            async with RelayClient(ways.to(entry.url, entry.pin)) as client:
                told += await _adopt(store, Relay(client, store.authority.organisation))
        except AuxilioError as exc:
            told.append(f"{entry.url} was not asked for newer policies: {exc.message}")
    return told


async def _adopt(store: Store, relay: Relay) -> list[str]:
    told = []
    for signed in await relay.charters():
        if any(signed.payload == held.payload for held in store.charters):
            continue
        _, outcome = store.authority.accept_charter(signed)
        if outcome is Outcome.ACCEPTED:
            store.adopt_charter(signed)
            told.append(f"adopted charter {store.charter.charter.number} from {relay.address.url}")
        elif outcome is Outcome.FORK:
            told.append(f"{relay.address.url} holds another charter under a number that is ours")
    policy = await relay.policy()
    if policy is None or store.has_policy(policy):
        return told
    _, outcome = store.authority.accept_policy(policy)
    if outcome is Outcome.ACCEPTED:
        store.adopt_policy(policy)
        told.append(f"adopted policy {order_text(store.authority.policy_order)} from {relay.address.url}")
    elif outcome is Outcome.FORK:
        told.append(
            f"{relay.address.url} holds another policy numbered {order_text(store.authority.policy_order)}: "
            "publishing there needs `auxilio authority rotate policy`"
        )
    return told


async def publish(store: Store, home: Home, extra: tuple[RelayEntry, ...] = ()) -> list[Published]:
    """Bring every charter and the policy in force to every relay of the policy, and of `extra`; and believe them here.

    extra: relays that the policy before named and that this one does not: they have to hear of it too.
    """
    load_trust(home, store.authority.organisation).accept(store.charters, store.policy.signed)
    entries = {entry.url: entry for entry in (*extra, *store.policy.policy.relays)}
    results = []
    ways = load_settings(home).ways
    for entry in entries.values():
        try:
            async with RelayClient(ways.to(entry.url, entry.pin)) as client:
                await _publish(store, Relay(client, store.authority.organisation))
            results.append(Published(entry.url, None))
        except AuxilioError as exc:
            results.append(Published(entry.url, exc))
    return results


async def _publish(store: Store, relay: Relay) -> None:
    there = {signed.payload for signed in await relay.charters()}
    for signed in store.charters:
        if signed.payload not in there:
            await relay.publish_charter(signed)
    current = await relay.policy()
    if current is not None and current.payload == store.policy.signed.payload:
        return
    await relay.publish_policy(store.policy.signed, _expected(store, current))


def _expected(store: Store, current: Signed | None) -> PolicyNumber | None:
    """What the relay must still hold when it takes ours: a policy that ours came after.

    Raises Refused (policy_changed) where it holds one that this authority has never seen.
    """
    if current is None:
        return None
    if not store.has_policy(current):
        _, outcome = store.authority.accept_policy(current)
        if outcome is not Outcome.LOWER:
            raise Refused(
                "the relay holds a policy that was not made here, and ours does not follow it",
                code="policy_changed",
                hint="Repeat your change: it will be based on that policy.",
            )
    return policy_order(store, current)


def policy_order(store: Store, signed: Signed) -> PolicyNumber:
    """The (epoch, number) under which a relay that holds our charters files a policy."""
    policy = decode(signed.payload, Policy, limit=MAX_DOCUMENT_BYTES)
    base = store.authority.base
    epoch = store.authority.epoch if base is not None and sha256(signed.payload) == base else policy.epoch
    return PolicyNumber(epoch=epoch, number=policy.number)
