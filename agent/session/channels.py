"""The processes of one session's channels: started if the device says yes at that moment, and ended to the last one.

The broker hands the child's messages over, and sends what is to be said back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

import msgspec

from agent.admission import DeviceView, Ended, Kind, Running, may_open, only_looks
from agent.session.endpoint import Send
from agent.session.file_notes import FileNotes
from agent.session.host import Exit, Host, Launch, Process
from agent.session.ipc import Denied, Exited, Open, Opened, Signal
from agent.session.journal import Journal
from agent.session.looks import LOOK_WITHIN_S, Looks
from protocol.errors import AuxilioError, BadMessage, Refused

MAX_CHANNELS = 10
"""At one time, as sshd's MaxSessions: each is a process of the technician's."""

MAX_ENDING = 4 * MAX_CHANNELS
"""Processes that outlive their channels for the moments until they are killed. More are not started meanwhile."""

MAX_OPENED = 5_000
"""Channels of one session, all in all: each is an entry in the device's log, and must not push the others out."""

MAX_LOOKS = 20
"""The same of a session that only looks: nobody was asked for it, so it gets less of the log."""

MAX_LOGGED_CHARS = 512 * 1024
"""Of one session's commands, for the same reason."""

MAX_LOGGED_OF_ONE = 2_000
"""Of a longer command the log has the beginning."""

EXIT_NOTED_WITHIN_S = 0.5

STUCK_FOR_S = 900.0
"""A look that was killed and does not end, by a disk that does not answer: so long the device takes no other one. The
session does not wait for it."""


KINDS: dict[str, Kind] = {"shell": "shell", "exec": "exec", "sftp": "sftp", "look": "look"}


class Task(msgspec.Struct):
    """One channel's process."""

    process: Process
    waiter: asyncio.Task[None]


class Channels:
    """What the technician's channels run. len: how many are open."""

    def __init__(
        self,
        running: Running,
        *,
        host: Host,
        journal: Journal,
        view: Callable[[], DeviceView],
        now: Callable[[], float],
        send: Send,
        looks: Looks | None = None,
    ) -> None:
        """looks: of the device, over all its sessions."""
        self._looks = looks or Looks()
        self._running = running
        self._session = running.verified.request.session
        self._host = host
        self._journal = journal
        self._view = view
        self._now = now
        self._send = send
        self._tasks: dict[int, Task] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._looking: set[asyncio.Task[None]] = set()
        self._most = MAX_LOOKS if only_looks(running) else MAX_OPENED
        self._left: list[Process] = []
        self._file_notes = FileNotes(self._session, journal)
        self._opened = 0
        self._logged = 0

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def process_ids(self) -> frozenset[int]:
        """Of the channels that are open."""
        return frozenset(task.process.pid for task in self._tasks.values())

    @property
    def left_behind(self) -> frozenset[int]:
        """Of processes that have ended, and left others in their session."""
        return frozenset(process.pid for process in self._left)

    def open(self, message: Open) -> None:
        if message.channel in self._tasks or len(self._tasks) >= MAX_CHANNELS:
            raise BadMessage("more channels than there may be")
        self._opened += 1
        self._logged += min(len(message.command or ""), MAX_LOGGED_OF_ONE)
        if self._opened > self._most or self._logged > MAX_LOGGED_CHARS:
            raise Ended("the session has filled its share of the device's log", ending="failed")
        entry = {
            "session": self._session,
            "channel": message.channel,
            "kind": message.kind,
            "command": message.command,
            "terminal": message.terminal is not None,
        }
        try:
            self._permit(message)
            process = self._look(entry) if message.kind == "look" else self._start(message, entry)
        except Ended:
            raise
        except AuxilioError as exc:
            self._journal.record("channel_refused", **entry, code=exc.reason, reason=exc.message)
            self._send(Denied(channel=message.channel, code=exc.reason, message=exc.message, hint=exc.hint))
            return
        waiter = asyncio.get_running_loop().create_task(self._await_exit(message.channel, process))
        # Before the child is told: one that does not read ends the session, and this process with it.
        self._tasks[message.channel] = Task(process, waiter)
        if (notes := process.take_notes()) is not None:
            self._file_notes.follow(notes)
        descriptors = process.take_descriptors()
        try:
            self._send(Opened(channel=message.channel), descriptors)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _start(self, message: Open, entry: dict[str, Any]) -> Process:
        account = self._host.account(self._running.verified.request.account)
        launch = Launch(
            account=account,
            command=message.command,
            files=self._view().files() if message.kind == "sftp" else None,
            terminal=message.terminal,
            environment=message.environment,
            session=self._session,
        )
        # The log comes first: what cannot be started leaves an entry too, and what was started never lacks one.
        self._journal.record("channel_open", **entry, account=account.name)
        return self._host.start(launch)

    def _look(self, entry: dict[str, Any]) -> Process:
        """The device looks at itself, as the agent: nothing of it is the technician's choice."""
        loop = asyncio.get_running_loop()
        self._looks.begin(loop.time())
        try:
            self._journal.record("channel_open", **entry, account=None)
            process = self._host.start_own(self._looks.command)
        except BaseException:
            self._looks.end()
            raise
        waiting = loop.create_task(_await_look(process))
        self._looking.add(waiting)
        waiting.add_done_callback(self._look_ended)
        return process

    def _look_ended(self, waiting: asyncio.Task[None]) -> None:
        self._looking.discard(waiting)
        self._looks.end()

    def _permit(self, message: Open) -> None:
        """Raises Refused; Ended where the session is over."""
        if len(self._ending) >= MAX_ENDING:
            raise Refused("too many processes of closed channels are still ending", code="too_many_processes")
        view, now = self._view(), self._now()
        kinds = [KINDS[message.kind]]
        if message.terminal is not None:
            kinds.append("pty")
        for kind in kinds:
            may_open(self._running, kind, view=view, now=now)

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
            "channel_exit", session=self._session, channel=channel, status=ended.status, signal=ended.signal
        )

    def signal(self, message: Signal) -> None:
        task = self._tasks.get(message.channel)
        if task is not None:
            task.process.signal(message.name)

    def hang_up(self, channel: int) -> None:
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

    async def end_all(self, *, everything: bool) -> None:
        """End what is open. everything: also what closed channels had left in the background."""
        tasks, self._tasks = list(self._tasks.values()), {}
        endings = [self._end(task, everything=everything) for task in tasks]
        await asyncio.gather(*endings, *self._ending, return_exceptions=True)
        if everything:
            await asyncio.gather(*(process.end(everything=True) for process in self._left), return_exceptions=True)
        self._file_notes.close()


async def _await_look(process: Process) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LOOK_WITHIN_S):
            await process.wait()
            return
    process.signal("KILL")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STUCK_FOR_S):
            await process.wait()
