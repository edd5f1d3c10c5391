"""The supervisor's side of one session: it starts the child, signs once, and starts what the technician may run.

The child is a stranger here. It gets a relay's address, a ticket and public keys; what it asks is checked against
what the device holds at that moment (agent.admission) and written to the log, and a message out of turn ends the
session. A session ends for one reason, which both sides read.

    STARTING -> DIALLING -> HANDSHAKE -> OPEN -> over
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import assert_never

import msgspec

from agent.admission import DeviceView, Ended, Running
from agent.session.channels import MAX_CHANNELS, Channels
from agent.session.endpoint import Endpoint
from agent.session.forwards import Forwards
from agent.session.host import Child, Host
from agent.session.ipc import (
    Authenticated,
    Away,
    Back,
    Connect,
    Doubt,
    Finish,
    FromChild,
    Hangup,
    Joined,
    Leaving,
    Open,
    Ready,
    Resume,
    Sign,
    Signal,
    Signed,
    Start,
    TurnedDown,
    decode_from_child,
)
from agent.session.journal import Journal
from agent.session.looks import Looks
from agent.session.stages import DEADLINES, State
from protocol.codec import Record
from protocol.errors import AuxilioError, BadMessage
from protocol.ids import SessionId
from protocol.signing import RawSigner
from protocol.statement import Signed as SignedStatement
from protocol.text import escape
from transport.relay_address import RelayAddress
from transport.resuming import RESUME_FOR_S

MAX_TURNED_DOWN = 32
"""Entries in the log for what the child refused by itself; a client may ask without end."""

MAX_AWAY = 1000
"""Times that one session loses its leg; each is two entries in the log."""

MAX_ERROR_CHARS = 4000
GOODBYE_S = 3.0
"""For a child to pass our last message on and to leave, before it is killed. A revocation takes effect within 5 s."""


ENDED_BY_US = frozenset({"revoked", "expired", "policy", "out_of_scope", "consent_revoked", "agent_stopped"})
"""Reasons for which nothing that the technician started may stay, not even in the background of its session."""


class Outcome(msgspec.Struct, frozen=True):
    """How a session ended. reason: a code as in link.SessionEnded.  message: for people."""

    reason: str
    message: str


class SessionBroker:
    """One session, from its child's start to its last process's end. `run` it once."""

    def __init__(
        self,
        running: Running,
        request: SignedStatement,
        *,
        relay: RelayAddress,
        ticket: str,
        host: Host,
        device_key: RawSigner,
        journal: Journal,
        view: Callable[[], DeviceView],
        now: Callable[[], float],
        guarded: Callable[[], frozenset[int]] = frozenset,
        on_away: Callable[[], None] = lambda: None,
        resume_for_s: float = RESUME_FOR_S,
        looks: Looks | None = None,
    ) -> None:
        """request: what began it, as it was signed.  guarded: see Forwards.  on_away: told when the leg is lost.

        looks: see Channels."""
        self.running = running
        self.request = request
        self.is_away = False
        self._on_away = on_away
        self._resume_for_s = resume_for_s
        self._times_away = 0
        self.state = State.STARTING
        self._relay = relay
        self._ticket = ticket
        self._host = host
        self._device_key = device_key
        self._journal = journal
        self._channels = Channels(running, host=host, journal=journal, view=view, now=now, send=self._send, looks=looks)
        self._forwards = Forwards(
            running,
            host=host,
            journal=journal,
            view=view,
            now=now,
            send=self._send,
            guarded=guarded,
            end=lambda ended: self.finish(ended.ending, ended.message),
        )
        self._child: frozenset[int] = frozenset()
        self._signed = False
        self._turned_down = 0
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._endpoint: Endpoint | None = None

    @property
    def session(self) -> SessionId:
        return self.running.verified.request.session

    @property
    def channels(self) -> int:
        return len(self._channels)

    @property
    def process_ids(self) -> frozenset[int]:
        """Of the child, and of what was started for the technician and is not wholly gone; each of these leads a kernel
        session of its own, in which something may live on after it."""
        return self._child | self.left_behind | self._channels.process_ids

    @property
    def left_behind(self) -> frozenset[int]:
        """Of processes that have ended, and left others in their session."""
        return self._channels.left_behind

    def finish(self, reason: str, message: str) -> None:
        """End the session. The first reason counts."""
        if not self._outcome.done():
            self._outcome.set_result(Outcome(reason, message))

    def resume(self, relay: RelayAddress, ticket: str) -> None:
        """Its technician has asked for it again, and the relay offers another leg."""
        if self.state in (State.HANDSHAKE, State.OPEN):
            self._send(Resume(relay_url=relay.url, pin=relay.pin, proxy=relay.proxy, ticket=ticket))

    def doubt(self) -> None:
        """The network changed, or the relay is gone: see whether the leg is."""
        if self.state in (State.HANDSHAKE, State.OPEN) and not self.is_away:
            self._send(Doubt())

    async def run(self) -> Outcome:
        """Serve the session until it is over; nothing of it is left when this returns, whatever happens."""
        try:
            child = await self._host.start_child()
        except AuxilioError as exc:
            return Outcome("failed", exc.message)
        self._child = frozenset({child.pid})
        self._endpoint = Endpoint(child.sock, descriptors=False)
        serving = asyncio.get_running_loop().create_task(self._serve(child))
        try:
            await asyncio.wait((serving, self._outcome), return_when=asyncio.FIRST_COMPLETED)
            if serving.done() and not self._outcome.done():
                self._outcome.set_result(serving.result())
            return await self._outcome
        finally:
            serving.cancel()
            await self._clear_up(child)

    # -- the child ------------------------------------------------------------------------------------------------

    async def _serve(self, child: Child) -> Outcome:
        """Answer the child until it leaves, is gone, or breaks the rules."""
        assert self._endpoint is not None
        while True:
            await asyncio.sleep(0)  # a child that asks without end does not keep the agent from everything else
            within_s, late = DEADLINES.get(self.state, (None, ""))
            try:
                async with asyncio.timeout(within_s):
                    packet = await self._endpoint.receive()
                if packet is None:
                    return Outcome("failed", "the session's process ended unexpectedly")
                message = decode_from_child(packet[0])
                if isinstance(message, Leaving):
                    return Outcome(_known_ending(message.reason), escape(message.message))
                self._heed(message, child)
            except TimeoutError:
                return Outcome("failed", late)
            except Ended as exc:
                return Outcome(exc.ending, exc.message)
            except AuxilioError as exc:
                return Outcome("failed", f"the session's process broke the rules: {exc.message}")

    def _heed(self, message: FromChild, child: Child) -> None:
        if isinstance(message, Away | Back):
            self._legs_changed(isinstance(message, Away))
            return
        match message:
            case Ready():
                self._expect(State.STARTING)
                self._start(child)
            case Joined():
                self._expect(State.DIALLING)
                self.state = State.HANDSHAKE
            case Sign():
                self._expect(State.HANDSHAKE)
                self._sign(message)
            case Authenticated():
                self._expect(State.HANDSHAKE)
                self._authenticated(message)
            case Open():
                self._expect(State.OPEN)
                self._channels.open(message)
            case Connect():
                self._expect(State.OPEN)
                self._forwards.connect(message)
            case Signal():
                self._expect(State.OPEN)
                self._channels.signal(message)
            case Hangup():
                self._expect(State.OPEN)
                self._channels.hang_up(message.channel)
            case TurnedDown():
                self._expect(State.OPEN)
                self._note_turned_down(message)
            case Leaving():
                raise BadMessage("out of turn")
            case _:
                assert_never(message)

    def _expect(self, state: State) -> None:
        if self.state is not state:
            raise BadMessage(f"a message out of turn, while {self.state.value}")

    def _start(self, child: Child) -> None:
        if not child.confined():
            raise BadMessage("it still has privileges", code="not_confined")
        verified = self.running.verified
        self._send(
            Start(
                relay_url=self._relay.url,
                pin=self._relay.pin,
                proxy=self._relay.proxy,
                session=verified.request.session,
                ticket=self._ticket,
                host_key=self._device_key.public,
                admitted_key=verified.ssh_key.blob,
                account=verified.request.account,
                max_channels=MAX_CHANNELS,
                resume_for_s=self._resume_for_s,
            )
        )
        self.state = State.DIALLING

    def _sign(self, message: Sign) -> None:
        if self._signed:
            raise BadMessage("a second signature was asked for")
        self._signed = True
        self._send(Signed(signature=self._device_key.sign_raw(message.exchange_hash)))

    def _authenticated(self, message: Authenticated) -> None:
        if not self._signed:
            raise BadMessage("nobody authenticates without a key exchange")
        self.state = State.OPEN
        self._journal.record("session_open", session=self.session, client=escape(message.client, limit=128))

    def _legs_changed(self, away: bool) -> None:
        if self.state not in (State.HANDSHAKE, State.OPEN) or away == self.is_away:
            raise BadMessage(f"a message out of turn, while {self.state.value}")
        self._times_away += away
        if self._times_away > MAX_AWAY:
            raise Ended("the connection was lost too often", ending="lost")
        self.is_away = away
        if away:
            self._journal.record("session_away", session=self.session)
            self._on_away()
        else:
            self._journal.record("session_back", session=self.session)

    def _note_turned_down(self, message: TurnedDown) -> None:
        self._turned_down += 1
        if self._turned_down <= MAX_TURNED_DOWN:
            self._journal.record(
                "channel_refused",
                session=self.session,
                kind=escape(message.what, limit=32),
                detail=escape(message.detail, limit=256),
                code="not_served",
            )

    def _send(self, message: Record, descriptors: Sequence[int] = ()) -> None:
        if self._endpoint is not None:
            self._endpoint.send(message, descriptors)

    # -- the end --------------------------------------------------------------------------------------------------

    async def _clear_up(self, child: Child) -> None:
        outcome = self._outcome.result() if self._outcome.done() else Outcome("failed", "the agent failed")
        with contextlib.suppress(AuxilioError):
            self._send(Finish(reason=outcome.reason, message=outcome.message))
        everything = outcome.reason in ENDED_BY_US
        # At once, so that a process which ignores SIGHUP does not give its technician two seconds more of shell.
        await asyncio.gather(
            child.end(GOODBYE_S),
            self._channels.end_all(everything=everything),
            self._forwards.end_all(),
            return_exceptions=True,
        )
        if self._endpoint is not None:
            self._endpoint.close()
        errors = child.errors.result() if child.errors.done() and not child.errors.cancelled() else ""
        if errors:
            output = escape(errors, multiline=True, limit=MAX_ERROR_CHARS)
            self._journal.record("session_process_error", session=self.session, output=output)


def _known_ending(reason: str) -> str:
    return reason if reason in ("closed", "lost") else "failed"
