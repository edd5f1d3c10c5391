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
from typing import Any

from agent import platform
from agent.admission import DeviceView
from agent.control import ControlRequest, ControlServer, Peer, check_peer, socket_path
from agent.diagnosis.remote import look_command
from agent.diagnosis.sections import Surroundings
from agent.documents import Documents
from agent.fetching import Fetcher
from agent.introducing import UNKNOWN, Introducer
from agent.journal import JOURNAL, FileJournal, last_entries
from agent.link_driver import LinkDriver
from agent.membership import load_keys, load_membership
from agent.messages import say
from agent.offers import Offers
from agent.outages import OutageLog
from agent.parts import end_all, keep_going
from agent.release import RELEASE
from agent.report_wiring import report_desk
from agent.reporting import CHEAP_S
from agent.sampling import SAMPLE_S
from agent.session.desk import SessionDesk
from agent.session.looks import Looks
from agent.session.overview import PendingConsent
from agent.state import StateDir
from agent.status import files_status, running_status
from agent.way import load_way, save_way, set_proxy
from protocol.authority import Outcome
from protocol.codec import encode
from protocol.errors import AuxilioError, BadMessage
from protocol.ids import SessionId, parse_session_id
from protocol.keys import public_line
from protocol.link import (
    VERSIONS,
    Challenge,
    Goodbye,
    Held,
    Hello,
    ReportAck,
    ReportMissing,
    SamplesAck,
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
from protocol.text import escape
from transport.proxy import show_setting
from transport.relay_address import RelayAddress
from transport.resuming import RESUME_FOR_S

log = logging.getLogger(__name__)

KEEP_FLOOR_S = 300.0
"""A power cut costs at most this much of the time floor."""

TRY_AGAIN_S = 30.0
"""Where the disk was full."""

REPLACED = ": replaced"
"""How a relay ends a link in whose place another stands. We have but one at a time: a copy of us runs somewhere."""


class Agent:
    """One agent over one state directory, from construction to the end of `run`."""

    def __init__(
        self,
        state: StateDir,
        clock: Clock,
        *,
        look_s: float = CHEAP_S,
        sample_s: float = SAMPLE_S,
        resume_for_s: float = RESUME_FOR_S,
    ) -> None:
        """look_s: between two looks at the device, seconds.  sample_s: between two samples.

        resume_for_s: for which a session outlives its leg.

        The state's lock is held until this process ends. Raises NotJoined, CorruptState, Unavailable.
        """
        self.state = state
        self.clock = clock
        self.membership = load_membership(state)
        self.keys = load_keys(state, self.membership)
        self.documents = Documents(state, self.membership, clock)
        self.journal = FileJournal(state.path / JOURNAL, self.documents.now)
        self._way = load_way(state)
        self.link = LinkDriver(self, clock, last=self._way.relay)
        self.fetcher = Fetcher(
            self.documents,
            self.membership.organisation,
            self.journal,
            accepted=self._accepted,
            looked_at=lambda refused: self.link.send(self._held(refused)),
        )
        self.desk = SessionDesk(
            view=self._view,
            now=self.documents.now,
            clock=clock,
            device_key=self.keys.signer,
            journal=self.journal,
            send=self.link.send,
            fetch_policy=self.fetcher.fetch_policy,
            ask=self._asked,
            way=self.way,
            resume_for_s=resume_for_s,
            away=self.link.session_lost,
            looks=Looks(look_command(state.path)),
        )
        self.introducer = Introducer(state, self.documents, self.membership.organisation, self.journal, self.link.hurry)
        self.offers = Offers(self.fetcher, self.desk.offer)
        self._outages = OutageLog(state)
        self.reports = report_desk(
            state,
            membership=self.membership,
            keys=self.keys,
            documents=self.documents,
            clock=clock,
            link=self.link,
            journal=self.journal,
            surroundings=Surroundings(self.documents, lambda: self._way, self._outages),
            look_s=look_s,
            sample_s=sample_s,
        )
        self._control = ControlServer(
            socket_path(self.state.path), self._command, own_uid=_own_uid(), leaders=self.desk.process_ids
        )
        self._stop = asyncio.Event()
        self.left = False

    # -- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until SIGTERM, SIGINT or `leave`. Raises Unavailable where the control socket cannot be made."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows' loops have none
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
        await self._listen()
        self.journal.record("started", agent=RELEASE, device=self.membership.device)
        parts = (
            self.link.run,
            self.reports.run,
            self.fetcher.run,
            self.offers.run,
            self.introducer.run,
            self._keep_house,
        )
        unwatch = platform.watch_network(self.link.network_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(keep_going(part, self.journal)) for part in parts]
                await self._stop.wait()
                await self.desk.close("agent_stopped")
                await end_all(running)
        finally:
            unwatch()
            await self._control.close()
            self.journal.record("stopped")
            self.journal.close()
            if not self.left:
                self._save()

    async def _listen(self) -> None:
        """A full disk makes no socket: nobody can be asked then, but what needs no answer goes on."""
        try:
            await self._control.start()
        except AuxilioError as exc:
            if exc.reason != "disk_full":
                raise
            log.warning("%s", exc.message)

    def _save(self) -> None:
        try:
            self.documents.keep_floor()
            self.documents.save()
        except AuxilioError as exc:
            log.warning("%s", exc.message)

    async def _keep_house(self) -> None:
        while True:
            self._save()
            if not self._control.is_listening:
                await self._listen()
            await asyncio.sleep(KEEP_FLOOR_S if self.documents.is_saved and self._control.is_listening else TRY_AGAIN_S)

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

    def way(self, relay: Relay) -> RelayAddress:
        return self._way.ways.to(relay.url, relay.pin)

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
        proxy = relay.proxy.url if relay.proxy else ""
        offline_reason = self.link.machine.offline_reason
        self.journal.record("online", relay=relay.dialled_name, proxy=proxy, offline_reason=offline_reason)
        self._remember(relay)
        self._outages.link_up(self.documents.now())
        self.fetcher.link_up(relay, welcome.blob_token)
        self.desk.link_up(frozenset(welcome.guarded_ports))
        self.reports.link_up(relay, welcome)

    def _remember(self, relay: RelayAddress) -> None:
        """So that a relay that is gone is not dialled first after each start."""
        before, self._way = self._way, self._way.found(relay, self.link.peer_address)
        if before == self._way:
            return
        try:
            save_way(self.state, self._way)
        except AuxilioError as exc:
            log.warning("%s", exc.message)

    def link_down(self, reason: str) -> None:
        self.journal.record("offline", reason=reason)
        self._outages.link_down(self.documents.now())
        if reason.endswith(REPLACED):
            self.journal.record("link_replaced")
        self.fetcher.link_down()
        self.desk.link_down()
        self.reports.link_down()

    def refused(self, reason: str, relay: RelayAddress) -> None:
        if reason == UNKNOWN:
            self.introducer.unknown_at(relay)

    @property
    def is_waited_for(self) -> bool:
        return self.desk.is_waited_for

    def link_message(self, message: ToAgent) -> None:
        match message:
            case SessionOffer():
                self.offers.offer(message)
            case SessionClose(session=session, reason=reason):
                self.offers.withdraw(session)
                self.desk.withdraw(session, reason)
            case ReportAck():
                self.reports.on_ack(message)
            case ReportMissing():
                self.reports.on_missing(message)
            case SamplesAck():
                self.reports.on_samples_ack(message)
            case Announced():
                self.fetcher.announced(message)
            case Goodbye(reason=reason):
                self.reports.on_goodbye(reason)
            case _:
                pass  # a Challenge or Welcome after the handshake: nothing to do about it

    def _accepted(self, kind: str, outcome: Outcome) -> None:
        """A document was looked at: let everything be judged anew that rests on it."""
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
        self.link.reconsider()
        self.fetcher.notice()

    # -- commands ---------------------------------------------------------------------------------------------------

    def _asked(self, pending: PendingConsent) -> None:
        seconds = max(0, round(pending.until_at - self.documents.now()))
        texts = {"technician": pending.technician, "account": pending.account, "purpose": pending.purpose}
        texts["capabilities"] = ", ".join(pending.capabilities)
        log.warning("%s %s", escape(say("question", seconds=seconds, **texts)), say("how_to_answer"))

    async def _command(self, request: ControlRequest, peer: Peer) -> dict[str, Any]:
        """One command from this device. Raises AuxilioError."""
        check_peer(request, peer, own_uid=_own_uid(), present_uids=platform.present_uids())
        match request.command:
            case "status":
                reports, failure = self.reports.status(), self.reports.failure
                files = files_status(self.membership, self.documents, self._way, reports, failure)
                return running_status(files, self.link, self.desk)
            case "log":
                return {"entries": await asyncio.to_thread(last_entries, self.state.path / JOURNAL, request.argument)}
            case "allow" | "deny":
                session = self._session(request.argument)
                answer = self.desk.allow(session) if request.command == "allow" else self.desk.deny(session)
                self.journal.record(f"customer_{request.command}", session=answer.session, uid=peer.uid)
                return {"session": answer.session, "technician": answer.technician, "purpose": answer.purpose}
            case "revoke":
                if len(request.argument) > 64:
                    raise BadMessage("that is no case")
                ended = self.desk.revoke(request.argument or None)
                if ended:
                    self.journal.record("customer_revoke", sessions=list(ended), uid=peer.uid)
                return {"ended": list(ended)}
            case "proxy":
                return self._set_proxy(request.argument, peer)
            case "import_policy":
                return self.import_policy(request.argument.encode())
            case "leave":
                self.journal.record("left", uid=peer.uid)
                self.left = True
                self._stop.set()
                return {"organisation": self.membership.organisation}

    def _set_proxy(self, setting: str, peer: Peer) -> dict[str, Any]:
        self._way = set_proxy(self.state, setting)
        shown = show_setting(self._way.proxy)
        self.journal.record("proxy_set", proxy=shown, uid=peer.uid)
        self.link.reconsider()
        return {"proxy": shown}

    @staticmethod
    def _session(text: str) -> SessionId | None:
        return parse_session_id(text) if text else None

    def import_policy(self, data: bytes) -> dict[str, Any]:
        """Take over a policy that was carried by hand. Raises Untrusted, BadMessage."""
        charter = self.documents.authority.charter_number
        try:
            outcome = self.documents.accept_bundle(data)
        finally:
            if self.documents.authority.charter_number != charter:
                self._accepted("charter", Outcome.ACCEPTED)
        self._accepted("policy", outcome)
        order = self.documents.authority.policy_order
        return {"outcome": outcome.value, "epoch": order.epoch, "number": order.number}


def _own_uid() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0
