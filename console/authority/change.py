"""One change of the policy, from what other admins published to every relay: for each command that makes one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from console.authority.policies import Editable, next_policy
from console.authority.publishing import adopt_from_relays, publish
from console.authority.store import Store, open_store
from console.home import Home
from console.passphrase import Passphrases
from console.trust import load_trust, order_text
from protocol.errors import EXIT_REFUSED, Refused, Unavailable
from protocol.policy import DEFAULT_POLICY_LIFE_S, Policy, Relay
from protocol.revocation import Revocations
from protocol.system_clock import SystemClock

Say = Callable[[str], None]


class Change(msgspec.Struct, frozen=True):
    """fields: what people edit, from the policy in force; it may ask a person.  revocations: likewise, computed.

    life_s: seconds from now until the new policy expires.
    """

    fields: Callable[[Policy], Editable] | None = None
    revocations: Callable[[Revocations], Revocations] | None = None
    life_s: int = DEFAULT_POLICY_LIFE_S


async def change_policy(home: Home, passphrases: Passphrases, say: Say, change: Change, *, send: bool) -> Store:
    """Sign the next policy; with `send`, bring it to every relay. Returns the store as it is then.

    Raises what the change raises, before anything is signed; and Unavailable or Refused (not_published) where a relay
    did not take it: it is signed and kept then, and `auxilio policy publish` repeats the rest.
    """
    store = open_store(home)
    for note in await adopt_from_relays(store, home):
        say(note)
    before = store.policy.policy
    policy = next_policy(
        store.authority,
        now=int(SystemClock().now()),
        life_s=change.life_s,
        fields=change.fields(before) if change.fields else None,
        revocations=change.revocations(before.revocations) if change.revocations else None,
    )
    store.add_policy(policy, store.signer("policy", passphrases))
    load_trust(home, store.authority.organisation).accept(store.charters, store.policy.signed)
    if send:
        await publish_all(store, home, say, before.relays)
    return store


async def publish_all(store: Store, home: Home, say: Say, extra: tuple[Relay, ...] = ()) -> None:
    """Raises Unavailable or Refused (not_published), after every relay was tried."""
    order = order_text(store.authority.policy_order)
    results = await publish(store, home, extra)
    if not results:
        say(f"policy {order} names no relay, so it was brought to none")
    for result in results:
        if result.error is None:
            say(f"policy {order} is in force at {result.url}")
    for result in results:
        if result.error is not None:
            kind = Refused if result.error.exit_status == EXIT_REFUSED else Unavailable
            raise kind(
                f"policy {order} is signed, but not at {result.url}: {result.error.message}",
                code="not_published",
                hint=f"{result.error.hint} Then: auxilio policy publish".strip(),
            )
