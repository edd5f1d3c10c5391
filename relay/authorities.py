"""The organisations that this relay serves, and the charters and policies that are in force in each.

The relay judges them as devices do (protocol/authority.py) and hands them on verbatim. It keeps them in the order in
which it accepted them, so that replaying them after a restart gives what was in force before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from protocol.authority import NO_POLICY, Authority, Outcome
from protocol.errors import AuxilioError, ConfigInvalid, Untrusted
from protocol.ids import DeviceId, OrganisationId, Sha256
from protocol.link import Documents, PolicyNumber
from protocol.policy import open_policy
from protocol.statement import Signed
from protocol.system_clock import Clock
from relay import logs
from relay.failures import Conflict, organisation_not_found
from relay.store.documents import (
    CHARTER,
    POLICY,
    Document,
    add_document,
    all_documents,
    has_organisation,
    make_document,
    mark_revoked,
)
from relay.store.store import Store

MAX_CHARTERS = 512
"""In a chain. Roots rotate once in years; a chain this long would be a root key's holder filling our disk."""


class Organisation(msgspec.Struct, frozen=True):
    """charters: accepted ones, ascending.  policy: the one in force, as it is fetched."""

    authority: Authority
    charters: tuple[Document, ...] = ()
    policy: Document | None = None

    @property
    def id(self) -> OrganisationId:
        return self.authority.organisation

    @property
    def revoked_devices(self) -> frozenset[DeviceId]:
        return frozenset(entry.device for entry in self.authority.revocations.devices)

    def newer_than(self, charter: int, policy: PolicyNumber) -> Documents:
        """What somebody who holds charter and policy of these numbers lacks. The order is by (epoch, number)."""
        held = self.authority.policy_order
        behind = (policy.epoch, policy.number) < (held.epoch, held.number)
        return Documents(
            charters=tuple(document.blob for document in self.charters if document.number > charter),
            policy=self.policy.blob if self.policy is not None and behind else None,
        )


Listener = Callable[[Organisation], None]


class Authorities:
    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._held: dict[OrganisationId, Organisation] = {}
        self._locks: dict[OrganisationId, asyncio.Lock] = {}
        self._listeners: list[Listener] = []

    def on_change(self, listener: Listener) -> None:
        """listener: called in the loop, after a newer charter or policy was committed."""
        self._listeners.append(listener)

    def held(self, organisation: OrganisationId) -> Organisation | None:
        """What `get` has loaded before, without waiting."""
        return self._held.get(organisation)

    async def get(self, organisation: OrganisationId) -> Organisation:
        """Raises NotFound where this relay does not serve it."""
        held = self._held.get(organisation)
        if held is not None:
            return held
        async with self._lock(organisation):
            return await self._load(organisation)

    async def publish_charter(self, organisation: OrganisationId, signed: Signed) -> tuple[Outcome, Sha256]:
        """Raises Untrusted, BadMessage, NotFound; Conflict (charter_lower, charter_fork)."""
        await self.get(organisation)
        async with self._lock(organisation):
            held = await self._load(organisation)
            authority, outcome = held.authority.accept_charter(signed)
            if outcome is not Outcome.ACCEPTED or authority.charter is None:
                return outcome, self._not_accepted(held, authority, outcome, CHARTER, signed)
            if len(held.charters) >= MAX_CHARTERS:
                raise Conflict("the chain of charters is too long", code="too_many_charters")
            charter = make_document(CHARTER, signed, epoch=0, number=authority.charter.charter.number)
            accepted = [charter]
            policy = held.policy if authority.policy is not None else None
            base = await self._base(authority)
            if base is not None:
                # The policy that the charter names as its base is one that we kept: it holds from now on.
                authority, policy = base
                accepted.append(policy)
            new = Organisation(authority, (*held.charters, charter), policy)
            await self._commit(new, accepted)
        return outcome, charter.sha256

    async def publish_policy(
        self, organisation: OrganisationId, signed: Signed, expected: PolicyNumber | None
    ) -> tuple[Outcome, Sha256]:
        """expected: the order of the policy that this one is to replace; None: there is none.

        Raises Untrusted, BadMessage, NotFound, Refused (no_charter); Conflict (policy_changed, policy_lower,
        policy_fork). The same policy again is known, whatever was expected: its answer was lost.
        """
        await self.get(organisation)
        async with self._lock(organisation):
            held = await self._load(organisation)
            authority, outcome = held.authority.accept_policy(signed)
            if outcome is Outcome.KNOWN:
                await self._sign_anew(held, signed)
                return outcome, make_document(POLICY, signed, epoch=0, number=0).sha256
            if held.authority.policy_order != (expected or NO_POLICY):
                now = held.authority.policy_order
                raise Conflict(
                    f"policy {now.number} of epoch {now.epoch} is in force, not the one that was expected",
                    code="policy_changed",
                    hint="Somebody published meanwhile: look at it with `auxilio policy show`, and edit that one.",
                )
            if outcome is not Outcome.ACCEPTED or authority.policy is None:
                return outcome, self._not_accepted(held, authority, outcome, POLICY, signed)
            payload = authority.policy.policy
            document = make_document(POLICY, signed, epoch=payload.epoch, number=payload.number)
            await self._commit(Organisation(authority, held.charters, document), [document])
        return outcome, document.sha256

    async def _sign_anew(self, held: Organisation, signed: Signed) -> None:
        """The policy in force, signed by a policy key of the present charter: whoever joins now can verify that one,
        and not a signature of a key that has left the charter. Raises Untrusted."""
        charter = held.authority.charter
        if held.policy is None or charter is None or signed == held.policy.signed:
            return
        policy = open_policy(signed, charter)
        document = make_document(POLICY, signed, epoch=held.policy.epoch, number=held.policy.number)
        authority = msgspec.structs.replace(held.authority, policy=policy)
        await self._commit(Organisation(authority, held.charters, document), [document])

    def _not_accepted(
        self, held: Organisation, authority: Authority, outcome: Outcome, kind: str, signed: Signed
    ) -> Sha256:
        """The hash, where it is known already; else raises Conflict."""
        document = make_document(kind, signed, epoch=0, number=0)
        if outcome is Outcome.FORK:
            # Remembered only while we run; whoever published it was told, and every device reports its own forks.
            self._held[held.id] = msgspec.structs.replace(held, authority=authority)
            logs.warning("fork", organisation=held.id, document=kind, sha256=document.sha256)
            raise Conflict(
                f"another {kind} of this number is in force",
                code=f"{kind}_fork",
                hint="Two people published at once, or a key is in other hands. docs/threats.md says what to do.",
            )
        if outcome is Outcome.LOWER:
            raise Conflict(f"a newer {kind} is in force", code=f"{kind}_lower")
        return document.sha256

    async def _base(self, authority: Authority) -> tuple[Authority, Document] | None:
        """The policy that a charter names as its base, where we kept it and its signer is still a policy key.

        Where that key left the charter, somebody has to sign the same policy anew, and publish it.
        """
        if authority.policy is not None or authority.base is None:
            return None
        known = await self._store.read(lambda connection: all_documents(connection, authority.organisation))
        base = next((d for d in known if d.kind == POLICY and d.sha256 == authority.base), None)
        if base is None:
            return None
        try:
            authority, outcome = authority.accept_policy(base.signed)
        except Untrusted:
            return None
        return (authority, base) if outcome is Outcome.ACCEPTED else None

    async def _commit(self, new: Organisation, accepted: list[Document]) -> None:
        now = self._clock.now()

        def job(connection: Connection) -> None:
            for document in accepted:
                add_document(connection, new.id, document, now)
            mark_revoked(connection, new.id, new.revoked_devices)

        await self._store.write(job)
        self._held[new.id] = new
        for document in accepted:
            logs.info("published", organisation=new.id, document=document.kind, number=document.number)
        for listener in self._listeners:
            listener(new)

    async def _load(self, organisation: OrganisationId) -> Organisation:
        held = self._held.get(organisation)
        if held is not None:
            return held

        def job(connection: Connection) -> list[Document] | None:
            if not has_organisation(connection, organisation):
                return None
            return all_documents(connection, organisation)

        documents = await self._store.read(job)
        if documents is None:
            raise organisation_not_found()
        held = self._held[organisation] = replay(organisation, documents)
        return held

    def _lock(self, organisation: OrganisationId) -> asyncio.Lock:
        if organisation not in self._held:
            # Strangers name organisations at will: only those that we serve get a lock that stays.
            return self._loading
        return self._locks.setdefault(organisation, asyncio.Lock())

    @property
    def _loading(self) -> asyncio.Lock:
        return self._locks.setdefault(OrganisationId(""), asyncio.Lock())


def replay(organisation: OrganisationId, documents: Sequence[Document]) -> Organisation:
    """What is in force after these were accepted in this order. Raises ConfigInvalid where they do not verify."""
    authority = Authority(organisation=organisation)
    charters: list[Document] = []
    policy: Document | None = None
    try:
        for index, document in enumerate(documents):
            if document.kind == CHARTER:
                authority, _ = authority.accept_charter(document.signed)
                charters.append(document)
                if authority.policy is None:
                    policy = None
            elif index + 1 == len(documents) or documents[index + 1].kind == CHARTER:
                # Of several policies in a row only the last one matters: it was the highest.
                authority, outcome = authority.accept_policy(document.signed)
                policy = document if outcome is not Outcome.LOWER else policy
    except AuxilioError as exc:
        raise ConfigInvalid(
            f"the documents kept for {organisation} do not verify: {exc.message}",
            code="store_corrupt",
            hint="Restore a backup of the relay's database, or publish them again into a fresh one.",
        ) from exc
    return Organisation(authority, tuple(charters), policy)
