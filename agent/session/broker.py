"""The supervisor's side of one session: it starts the child, signs once, and starts what the technician may run.

The child is a stranger here. It gets a relay's address, a ticket and public keys; what it asks is checked against
what the device holds at that moment (agent.admission) and written to the log, and a message out of turn ends the
session. A session ends for one reason, which both sides read.

    STARTING -> DIALLING -> HANDSHAKE -> OPEN -> over
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import assert_never

import msgspec

from agent.admission import DeviceView, Ended, Kind, Running, may_open
from agent.session.host import Account, Child, Exit, Host, Launch, Process
from agent.session.ipc import (
    Authenticated,
    Denied,
    Endpoint,
    Exited,
    Finish,
    FromChild,
    Hangup,
    Joined,
    Leaving,
    Open,
    Opened,
    Ready,
    Sign,
    Signal,
    Signed,
    Start,
    TurnedDown,
    decode_from_child,
)
from agent.session.journal import Journal
from agent.session.stages import DEADLINES, State
from protocol.codec import Record
from protocol.errors import AuxilioError, BadMessage, Refused
from protocol.signing import RawSigner
from protocol.text import escape
from transport.relay_address import RelayAddress

MAX_CHANNELS = 10
"""At one time, as sshd's MaxSessions: each is a process of the technician's."""

MAX_ENDING = 4 * MAX_CHANNELS
"""Processes that outlive their channels for the moments until they are killed. More are not started meanwhile."""

MAX_OPENED = 5_000
"""Channels of one session, all in all: each is an entry in the device's log, and must not push the others out."""

MAX_LOGGED_CHARS = 512 * 1024
"""Of one session's commands, for the same reason."""

MAX_LOGGED_OF_ONE = 2_000
"""Of a longer command the log has the beginning."""

MAX_TURNED_DOWN = 32
"""Entries in the log for what the child refused by itself; a client may ask without end."""

MAX_ERROR_CHARS = 4000
EXIT_NOTED_WITHIN_S = 0.5
GOODBYE_S = 3.0
"""For a child to pass our last message on and to leave, before it is killed. A revocation takes effect within 5 s."""


ENDED_BY_US = frozenset({"revoked", "expired", "policy", "out_of_scope", "consent_revoked", "agent_stopped"})
"""Reasons for which nothing that the technician started may stay, not even in the background of its session."""


class Outcome(msgspec.Struct, frozen=True):
    """How a session ended. reason: a code as in link.SessionEnded.  message: for people."""

    reason: str
    message: str


class Task(msgspec.Struct):
    """One channel's process."""

    process: Process
    waiter: asyncio.Task[None]


class SessionBroker:
    """One session, from its child's start to its last process's end. `run` it once."""

    def __init__(
        self,
        running: Running,
        *,
        relay: RelayAddress,
        ticket: str,
        host: Host,
        device_key: RawSigner,
        journal: Journal,
        view: Callable[[], DeviceView],
        now: Callable[[], float],
    ) -> None:
        self.running = running
        self.state = State.STARTING
        self._relay = relay
        self._ticket = ticket
        self._host = host
        self._device_key = device_key
        self._journal = journal
        self._view = view
        self._now = now
        self._tasks: dict[int, Task] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._left: list[Process] = []
        self._child: frozenset[int] = frozenset()
        self._signed = False
        self._opened = 0
        self._logged = 0
        self._turned_down = 0
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._endpoint: Endpoint | None = None

    @property
    def session(self) -> str:
        return self.running.verified.request.session

    @property
    def channels(self) -> int:
        return len(self._tasks)

    @property
    def process_ids(self) -> frozenset[int]:
        """Of the child, and of what was started for the technician and is not wholly gone; each of these leads a kernel
        session of its own, in which something may live on after it."""
        return self._child.union(self.left_behind, (task.process.pid for task in self._tasks.values()))

    @property
    def left_behind(self) -> frozenset[int]:
        """Of processes that have ended, and left others in their session."""
        return frozenset(process.pid for process in self._left)

    def finish(self, reason: str, message: str) -> None:
        """End the session. The first reason counts."""
        if not self._outcome.done():
            self._outcome.set_result(Outcome(reason, message))

    async def run(self) -> Outcome:
        """Serve the session until it is over; nothing of it is left when this returns, whatever happens."""
        try:
            child = self._host.start_child()
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
                self._open(message)
            case Signal():
                self._expect(State.OPEN)
                self._signal(message)
            case Hangup():
                self._expect(State.OPEN)
                self._hang_up(message.channel)
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
                max_channels=MAX_CHANNELS,
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

    def _send(self, message: Record, descriptors: tuple[int, ...] = ()) -> None:
        if self._endpoint is not None:
            self._endpoint.send(message, descriptors)

    # -- channels -------------------------------------------------------------------------------------------------

    def _open(self, message: Open) -> None:
        if message.channel in self._tasks or len(self._tasks) >= MAX_CHANNELS:
            raise BadMessage("more channels than there may be")
        self._opened += 1
        self._logged += min(len(message.command or ""), MAX_LOGGED_OF_ONE)
        if self._opened > MAX_OPENED or self._logged > MAX_LOGGED_CHARS:
            raise Ended("the session has filled its share of the device's log", ending="failed")
        entry = {
            "session": self.session,
            "channel": message.channel,
            "kind": message.kind,
            "command": message.command,
            "terminal": message.terminal is not None,
        }
        try:
            account = self._permit(message)
            launch = Launch(
                account=account,
                command=message.command,
                terminal=message.terminal,
                environment=message.environment,
                session=self.session,
            )
            # The log comes first: what cannot be started leaves an entry too, and what was started never lacks one.
            self._journal.record("channel_open", **entry, account=account.name)
            process = self._host.start(launch)
        except Ended:
            raise
        except AuxilioError as exc:
            self._journal.record("channel_refused", **entry, code=exc.reason, reason=exc.message)
            self._send(Denied(channel=message.channel, code=exc.reason, message=exc.message, hint=exc.hint))
            return
        waiter = asyncio.get_running_loop().create_task(self._await_exit(message.channel, process))
        # Before the child is told: one that does not read ends the session, and this process with it.
        self._tasks[message.channel] = Task(process, waiter)
        descriptors = process.take_descriptors()
        try:
            self._send(Opened(channel=message.channel), descriptors)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _permit(self, message: Open) -> Account:
        """The account to start the process as. Raises Refused; Ended where the session is over."""
        if len(self._ending) >= MAX_ENDING:
            raise Refused("too many processes of closed channels are still ending", code="too_many_processes")
        view, now = self._view(), self._now()
        kinds: list[Kind] = ["shell" if message.kind == "shell" else "exec"]
        if message.terminal is not None:
            kinds.append("pty")
        for kind in kinds:
            may_open(self.running, kind, view=view, now=now)
        return self._host.account(self.running.verified.request.account)

    async def _await_exit(self, channel: int, process: Process) -> None:
        ended = await process.wait()
        self._note_exit(channel, ended)
        with contextlib.suppress(AuxilioError):  # a child that does not read is found by whoever asks it something
            self._send(
                Exited(
                    channel=channel,
                    status=ended.status,
                    signal=ended.signal,
                    core_dumped=ended.core_dumped,
                )
            )

    def _note_exit(self, channel: int, ended: Exit) -> None:
        self._journal.record(
            "channel_exit", session=self.session, channel=channel, status=ended.status, signal=ended.signal
        )

    def _signal(self, message: Signal) -> None:
        task = self._tasks.get(message.channel)
        if task is not None:
            task.process.signal(message.name)

    def _hang_up(self, channel: int) -> None:
        task = self._tasks.pop(channel, None)
        if task is not None:
            ending = asyncio.get_running_loop().create_task(self._end(task, everything=False))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    async def _end(self, task: Task, *, everything: bool) -> None:
        await task.process.end(everything=everything)
        # A process that is stuck in the kernel may not have ended; it is not waited for.
        await asyncio.wait((task.waiter,), timeout=EXIT_NOTED_WITHIN_S)
        task.waiter.cancel()
        if not everything and task.process.leaves_behind():
            self._left.append(task.process)

    # -- the end --------------------------------------------------------------------------------------------------

    async def _clear_up(self, child: Child) -> None:
        outcome = self._outcome.result() if self._outcome.done() else Outcome("failed", "the agent failed")
        with contextlib.suppress(AuxilioError):
            self._send(Finish(reason=outcome.reason, message=outcome.message))
        everything = outcome.reason in ENDED_BY_US
        tasks, self._tasks = list(self._tasks.values()), {}
        # At once, so that a process which ignores SIGHUP does not give its technician two seconds more of shell.
        endings = [self._end(task, everything=everything) for task in tasks]
        await asyncio.gather(child.end(GOODBYE_S), *endings, *self._ending, return_exceptions=True)
        if everything:  # what closed channels had left in the background
            await asyncio.gather(*(process.end(everything=True) for process in self._left), return_exceptions=True)
        if self._endpoint is not None:
            self._endpoint.close()
        errors = child.errors.result() if child.errors.done() and not child.errors.cancelled() else ""
        if errors:
            output = escape(errors, multiline=True, limit=MAX_ERROR_CHARS)
            self._journal.record("session_process_error", session=self.session, output=output)


def _known_ending(reason: str) -> str:
    return reason if reason in ("closed", "lost") else "failed"
