"""The agent: one link, one spool, one desk of sessions, one control socket, wired together. A driver.

Lean on purpose: it may be root and holds the device key, so it parses little, and no SSH. What comes over the link is
handed to whoever decides; documents are fetched as blobs and accepted or refused by agent.documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agent import platform
from agent.admission import DeviceView
from agent.control import ControlRequest, ControlServer, Peer, check_peer, socket_path
from agent.documents import MAX_SIGNED_BYTES, Documents, read_signed
from agent.journal import FileJournal
from agent.link_driver import LinkDriver
from agent.membership import load_keys, load_membership
from agent.release import RELEASE
from agent.reporter import Reporter
from agent.reporting import CHEAP_S
from agent.session.desk import SessionDesk
from agent.session.overview import PendingConsent
from agent.spool import Spool
from agent.state import StateDir
from agent.status import running_status
from protocol.authority import Outcome
from protocol.codec import encode
from protocol.errors import AuxilioError, ConfigInvalid
from protocol.ids import SessionId, Sha256, parse_session_id
from protocol.keys import public_line
from protocol.link import (
    VERSIONS,
    Challenge,
    Goodbye,
    Held,
    Hello,
    PolicyNumber,
    ReportAck,
    ReportMissing,
    SessionClose,
    SessionOffer,
    ToAgent,
    Welcome,
)
from protocol.link import Documents as Announced
from protocol.login import LinkStatement
from protocol.policy import Relay
from protocol.statement import LINK, seal_statement
from protocol.system_clock import Clock
from transport.blobs import get_blob
from transport.http import RelayClient
from transport.relay_address import RelayAddress

log = logging.getLogger(__name__)

KEEP_FLOOR_S = 300.0
"""A power cut costs at most this much of the time floor."""

FETCH_POLICY_S = 20.0


class AlreadyRunning(ConfigInvalid):
    code = "already_running"
    default_hint = (
        "`auxilio-agent status` asks the one that runs. Several on one machine each need a --state of their own."
    )


class Agent:
    """One agent over one state directory, from construction to the end of `run`."""

    def __init__(self, state: StateDir, clock: Clock, *, look_s: float = CHEAP_S) -> None:
        """look_s: between two looks at the device, seconds.

        Raises NotJoined, CorruptState, AlreadyRunning, Unavailable.
        """
        if platform.lock_file(state.path / "lock") is None:
            raise AlreadyRunning(f"an agent is already running with the state directory {state.path}")
        self.state = state
        self.clock = clock
        self.membership = load_membership(state)
        self.keys = load_keys(state)
        self.documents = Documents(state, self.membership, clock)
        self.journal = FileJournal(state.path / "journal.jsonl", self.documents.now)
        self.spool = Spool(state.path / "spool.sqlite")
        if self.spool.moved_aside is not None:
            self.journal.record("spool_damaged", moved_to=str(self.spool.moved_aside))
        self.link = LinkDriver(self, clock)
        self.desk = SessionDesk(
            view=self._view,
            now=self.documents.now,
            clock=clock,
            device_key=self.keys.signer,
            journal=self.journal,
            send=self.link.send,
            fetch_policy=self._await_policy,
            ask=self._asked,
        )
        self.reporter = Reporter(
            state=state,
            spool=self.spool,
            membership=self.membership,
            keys=self.keys,
            clock=clock,
            now=self.documents.now,
            send=self.link.send,
            journal=self.journal,
            look_s=look_s,
        )
        self._announced: asyncio.Queue[Announced] = asyncio.Queue(maxsize=64)
        self._relay: tuple[RelayAddress, str] | None = None
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self.left = False

    # -- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until SIGTERM, SIGINT or `leave`. Raises Unavailable where the control socket cannot be made."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows' loops have none
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
        control = ControlServer(socket_path(self.state.path), self._command)
        await control.start()
        self.journal.record("started", agent=RELEASE, device=self.membership.device)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(work)
                    for work in (self.link.run(), self.reporter.run(), self._fetch_documents(), self._keep_floor())
                ]
                await self._stop.wait()
                await self.desk.close("agent_stopped")
                for task in running:
                    task.cancel()
        finally:
            await control.close()
            self.spool.close()
            self.journal.record("stopped")
            self.journal.close()
            if not self.left:
                self.documents.keep_floor()

    async def _keep_floor(self) -> None:
        while True:
            try:
                self.documents.keep_floor()
            except AuxilioError as exc:
                log.warning("%s", exc.message)
            await asyncio.sleep(KEEP_FLOOR_S)

    def _view(self) -> DeviceView:
        held = self.documents.record
        return DeviceView(
            organisation=self.membership.organisation,
            device=self.membership.device,
            authority=self.documents.authority,
            record=held.record if held else None,
        )

    # -- the link ---------------------------------------------------------------------------------------------------

    def relays(self) -> tuple[Relay, ...]:
        return self.documents.relays()

    def hello(self, challenge: Challenge, relay: RelayAddress) -> Hello:
        statement = LinkStatement(
            organisation=self.membership.organisation,
            relay=relay.dialled_name,
            nonce=challenge.nonce,
            device_key=public_line(self.keys.signer.public),
            issued_at=int(self.documents.now()),
        )
        held = self._held()
        return Hello(
            statement=seal_statement(self.keys.sshsig(), LINK, encode(statement)),
            version=max(set(challenge.versions) & set(VERSIONS)),
            agent=RELEASE,
            charter=held.charter,
            policy=held.policy,
            record=held.record,
            offline_reason=self.link.machine.offline_reason,
            offline_since_at=self.link.machine.offline_since_at,
            forks=held.forks,
        )

    def _held(self, refused: Iterable[str] = ()) -> Held:
        authority, record = self.documents.authority, self.documents.record
        return Held(
            charter=authority.charter_number,
            policy=authority.policy_order,
            record=record.record.number if record else 0,
            forks=authority.forks,
            refused=tuple(refused),
        )

    def link_up(self, welcome: Welcome, relay: RelayAddress) -> None:
        self._relay = (relay, welcome.blob_token)
        self.journal.record("online", relay=relay.dialled_name, offline_reason=self.link.machine.offline_reason)
        self.desk.link_up()
        self.reporter.link_up(relay, welcome.blob_token, welcome.report)

    def link_down(self, reason: str) -> None:
        self._relay = None
        self.journal.record("offline", reason=reason)
        self.desk.link_down()
        self.reporter.link_down()

    def link_message(self, message: ToAgent) -> None:
        match message:
            case SessionOffer():
                self.desk.offer(message)
            case SessionClose(session=session, reason=reason):
                self.desk.withdraw(session, reason)
            case ReportAck():
                self.reporter.on_ack(message)
            case ReportMissing():
                self.reporter.on_missing(message)
            case Goodbye(reason=reason):
                self.reporter.on_goodbye(reason)
            case Announced():
                if not self._announced.full():
                    self._announced.put_nowait(message)
            case _:
                pass  # a Challenge or Welcome after the handshake: nothing to do about it

    # -- documents --------------------------------------------------------------------------------------------------

    async def _fetch_documents(self) -> None:
        while True:
            announced = await self._announced.get()
            if self._relay is None:
                continue  # the next Welcome announces again
            relay, bearer = self._relay
            try:
                async with RelayClient(relay, bearer=bearer) as client:
                    refused = await self._accept_announced(client, announced)
            except AuxilioError as exc:
                log.warning("documents could not be fetched: %s", exc.message)
                continue
            self.link.send(self._held(refused))

    async def _accept_announced(self, client: RelayClient, announced: Announced) -> list[str]:
        refused: list[str] = []

        async def each(digest: Sha256, kind: str) -> None:
            signed = read_signed(await get_blob(client, digest, limit=MAX_SIGNED_BYTES))
            try:
                if kind == "charter":
                    outcome = self.documents.accept_charters((signed,))
                elif kind == "policy":
                    outcome = self.documents.accept_policy(signed)
                else:
                    outcome = self.documents.accept_record(signed)
            except AuxilioError as exc:
                refused.append(f"{digest}: {exc.reason}")
                self.journal.record(f"{kind}_refused", sha256=digest, code=exc.reason, message=exc.message)
                return
            self._accepted(kind, outcome)

        for digest in announced.charters:
            await each(digest, "charter")
        if announced.policy is not None:
            await each(announced.policy, "policy")
        if announced.record is not None:
            await each(announced.record, "record")
        return refused

    def _accepted(self, kind: str, outcome: Outcome) -> None:
        if outcome in (Outcome.KNOWN, Outcome.LOWER):
            return
        order = self.documents.authority.policy_order
        self.journal.record(
            f"{kind}_{outcome.value}",
            charter=self.documents.authority.charter_number,
            policy=f"{order.epoch}.{order.number}",
            record=self.documents.record.record.number if self.documents.record else 0,
        )
        if kind != "record" and self.documents.drop_void_record():
            self.journal.record("record_void")
        self.desk.review()
        self.link.hurry()  # it may name other relays, and we may be waiting for one that is gone
        self._changed.set()

    async def _await_policy(self, wanted: PolicyNumber) -> None:
        """A console knows a newer policy than we: wait until the relay has told us, or not."""
        try:
            async with asyncio.timeout(FETCH_POLICY_S):
                while _order(self.documents.authority.policy_order) < _order(wanted):
                    self._changed.clear()
                    self.link.send(self._held())  # a relay that knows better announces it again
                    await self._changed.wait()
        except TimeoutError:
            pass

    # -- commands ---------------------------------------------------------------------------------------------------

    def _asked(self, pending: PendingConsent) -> None:
        log.warning(
            "%s asks for a session (%s): answer with `auxilio-agent allow` or `auxilio-agent deny`",
            pending.technician,
            pending.purpose,
        )

    async def _command(self, request: ControlRequest, peer: Peer) -> dict[str, Any]:
        """One command from this device. Raises AuxilioError."""
        check_peer(
            request,
            peer,
            own_uid=_own_uid(),
            present_uids=platform.present_uids(),
            inside=bool(platform.ancestors(peer.pid) & self.desk.process_ids()),
        )
        match request.command:
            case "status":
                return running_status(self)
            case "allow" | "deny":
                session = self._session(request.argument)
                answer = self.desk.allow(session) if request.command == "allow" else self.desk.deny(session)
                self.journal.record(f"customer_{request.command}", session=answer.session, uid=peer.uid)
                return {"session": answer.session, "technician": answer.technician, "purpose": answer.purpose}
            case "revoke":
                ended = self.desk.revoke(request.argument or None)
                self.journal.record("customer_revoke", sessions=list(ended), uid=peer.uid)
                return {"ended": list(ended)}
            case "import_policy":
                return self.import_policy(request.argument.encode())
            case "leave":
                self.journal.record("left", uid=peer.uid)
                self.left = True
                self._stop.set()
                return {"organisation": self.membership.organisation}

    @staticmethod
    def _session(text: str) -> SessionId | None:
        return parse_session_id(text) if text else None

    def import_policy(self, data: bytes) -> dict[str, Any]:
        """Take over a policy that was carried by hand. Raises Untrusted, BadMessage."""
        outcome = self.documents.accept_bundle(data)
        self._accepted("policy", outcome)
        order = self.documents.authority.policy_order
        return {"outcome": outcome.value, "epoch": order.epoch, "number": order.number}


def _order(number: PolicyNumber) -> tuple[int, int]:
    return number.epoch, number.number


def _own_uid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def run_agent(path: Path, clock: Clock, *, look_s: float = CHEAP_S) -> bool:
    """Run the agent whose state is at `path`; return whether it left its organisation. Raises AuxilioError."""
    state = StateDir(path)

    async def main() -> bool:
        agent = Agent(state, clock, look_s=look_s)
        await agent.run()
        return agent.left

    left = asyncio.run(main())
    if left:
        from agent.joining import leave

        leave(state)
    return left
