"""Brings the organisation's documents from the relay: those it announces, and those that a console knows of. A driver.

agent.documents decides what is accepted. A fetch that a bad network broke is tried again while the link stands; the
next Welcome announces anew whatever is still missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from agent.documents import MAX_SIGNED_BYTES, Documents, read_signed
from agent.session.journal import Journal
from protocol.api import MAX_LIST_BYTES
from protocol.authority import Outcome
from protocol.backoff import delay_s
from protocol.errors import AuxilioError, Unavailable
from protocol.ids import OrganisationId, Sha256
from protocol.link import MAX_ANNOUNCED, PolicyNumber
from protocol.link import Documents as Announced
from protocol.statement import Signed
from transport.blobs import get_blob
from transport.http import RelayClient
from transport.relay_address import RelayAddress

log = logging.getLogger(__name__)

FETCH_POLICY_S = 20.0
"""For a policy that a console knows and we do not: the technician waits meanwhile."""

NOTHING = Announced()


def merged(old: Announced, new: Announced) -> Announced:
    """Both announcements as one; of a policy and a record only the later counts."""
    charters = tuple(dict.fromkeys((*old.charters, *new.charters)))
    return Announced(
        charters=charters[-MAX_ANNOUNCED:], policy=new.policy or old.policy, record=new.record or old.record
    )


class Fetcher:
    """`run` until cancelled; the link's events come from the supervisor."""

    def __init__(
        self,
        documents: Documents,
        organisation: OrganisationId,
        journal: Journal,
        *,
        accepted: Callable[[str, Outcome], None],
        looked_at: Callable[[list[str]], None],
    ) -> None:
        """accepted: told of each document ("charter", "policy", "record") and what became of it.

        looked_at: told when an announcement has been dealt with, with "sha256: code" of each that was refused.
        """
        self._documents = documents
        self._organisation = organisation
        self._journal = journal
        self._accepted = accepted
        self._looked_at = looked_at
        self._relay: tuple[RelayAddress, str] | None = None
        self._wanted = NOTHING
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()

    def link_up(self, relay: RelayAddress, bearer: str) -> None:
        self._relay = (relay, bearer)

    def link_down(self) -> None:
        self._relay = None
        self._wanted = NOTHING
        self._settled.set()

    @property
    def is_settled(self) -> bool:
        """Nothing that was announced is still to be looked at."""
        return self._settled.is_set()

    async def settled(self, within_s: float) -> None:
        """Return when `is_settled`, or after `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._settled.wait()

    def announced(self, documents: Announced) -> None:
        self._wanted = merged(self._wanted, documents)
        self._settled.clear()
        self._wake.set()

    def notice(self) -> None:
        """Something was accepted, by whatever way it came."""
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._fetch_wanted()
            self._settled.set()

    async def _fetch_wanted(self) -> None:
        attempt = 0
        while self._wanted != NOTHING and self._relay is not None:
            wanted, self._wanted = self._wanted, NOTHING
            relay, bearer = self._relay
            try:
                async with RelayClient(relay, bearer=bearer) as client:
                    refused = await self._fetch(client, wanted)
            except Unavailable as exc:
                log.info("documents could not be fetched: %s", exc.message)
                self._wanted = merged(wanted, self._wanted)
                await asyncio.sleep(delay_s(attempt, random.uniform))
                attempt += 1
            except AuxilioError as exc:
                self._journal.record("documents_not_fetched", code=exc.reason, message=exc.message)
            else:
                self._looked_at(refused)

    async def _fetch(self, client: RelayClient, wanted: Announced) -> list[str]:
        refused: list[str] = []

        async def fetch(kind: str, digest: Sha256) -> None:
            signed = read_signed(await get_blob(client, digest, limit=MAX_SIGNED_BYTES))
            code = self._accept(kind, signed, digest)
            if code == "chain_broken":  # the announcement left out what it follows from
                await self._catch_up(client)
                code = self._accept(kind, signed, digest)
            if code:
                refused.append(f"{digest}: {code}")

        for digest in wanted.charters:
            await fetch("charter", digest)
        if wanted.policy is not None:
            await fetch("policy", wanted.policy)
        if wanted.record is not None:
            await fetch("record", wanted.record)
        return refused

    def _accept(self, kind: str, signed: Signed, digest: str) -> str:
        """Offer a document; return the code of its refusal, or ""."""
        try:
            if kind == "charter":
                outcome = self._documents.accept_charters((signed,))
            elif kind == "policy":
                outcome = self._documents.accept_policy(signed)
            else:
                outcome = self._documents.accept_record(signed)
        except AuxilioError as exc:
            self._journal.record(f"{kind}_refused", sha256=digest, code=exc.reason, message=exc.message)
            return exc.reason
        self._accepted(kind, outcome)
        return ""

    async def _catch_up(self, client: RelayClient) -> None:
        """Everything that the relay holds of the authority. Raises AuxilioError."""
        base = f"/v1/organisations/{self._organisation}"
        charters = await client.request("GET", f"{base}/charters", tuple[Signed, ...], limit=MAX_LIST_BYTES)
        for signed in charters:
            self._accept("charter", signed, "")
        policy = await client.request("GET", f"{base}/policy", Signed, limit=MAX_SIGNED_BYTES)
        self._accept("policy", policy, "")

    async def fetch_policy(self, wanted: PolicyNumber) -> None:
        """A verified technician knows a policy that we lack: return when it is here, or FETCH_POLICY_S later.

        A relay that announces it late, or was told of it a moment ago, is asked and then waited for.
        """
        try:
            async with asyncio.timeout(FETCH_POLICY_S):
                if self._relay is not None:
                    relay, bearer = self._relay
                    async with RelayClient(relay, bearer=bearer) as client:
                        await self._catch_up(client)
                while _order(self._documents.authority.policy_order) < _order(wanted):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.info("no policy %s.%s within %g s", wanted.epoch, wanted.number, FETCH_POLICY_S)


def _order(number: PolicyNumber) -> tuple[int, int]:
    return number.epoch, number.number
