"""One SSH channel of a session: what the client may ask of it, and the process that the supervisor starts for it.

The child starts nothing. It passes a request on, gets descriptors back and moves bytes. A refusal is told to the
technician on the channel's standard error, since SSH's own answer to a request has no room for a reason.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import asyncssh

from agent.session.child_pump import Sink, Source
from agent.session.ipc import (
    LOCALE_NAME,
    LOCALE_VALUE,
    MAX_COMMAND_CHARS,
    MAX_ENVIRONMENT,
    MAX_MODES,
    REFUSED_STATUS,
    TERMINAL_NAME,
    Denied,
    Exited,
    Hangup,
    Open,
    Signal,
    Terminal,
    TurnedDown,
)
from protocol.codec import Record
from protocol.subsystems import DIAGNOSE

SUBSYSTEMS = {"sftp": "sftp", DIAGNOSE: "look"}
"""By the name that a client asks for, what the supervisor calls it."""

SIGNAL_NAME = re.compile(r"[A-Z0-9]{1,16}\Z")


class Surroundings(Protocol):
    """How a channel reaches the supervisor, the leg, and its terminal."""

    def tell(self, message: Record) -> None: ...

    async def leg_writable(self) -> None: ...

    def set_size(self, fd: int, columns: int, rows: int, width: int, height: int) -> None: ...

    def send_break(self, fd: int) -> None: ...


class Channel(asyncssh.SSHServerSession[bytes]):
    """A `session` channel. number: its name between child and supervisor."""

    def __init__(self, number: int, around: Surroundings, closed: Callable[[int], None]) -> None:
        self.number = number
        self._around = around
        self._closed = closed
        self._terminal: Terminal | None = None
        self._master: int | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._sources: list[Source] = []
        self._pumping: asyncio.Task[None] | None = None
        self._exit: asyncio.Future[Exited] = asyncio.get_running_loop().create_future()
        self._requested = False

    # -- what asyncssh calls ----------------------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan
        # A writer waits until everything is on its way: one chunk at most is buffered.
        chan.set_write_buffer_limits(high=0, low=0)
        self._sink = Sink(chan.pause_reading, chan.resume_reading)

    def pty_requested(
        self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Mapping[int, int]
    ) -> bool:
        columns, rows, width, height = term_size
        self._terminal = Terminal(
            name=term_type if TERMINAL_NAME.match(term_type) else "dumb",
            columns=columns,
            rows=rows,
            width=width,
            height=height,
            modes=tuple(term_modes.items())[:MAX_MODES],
        )
        return True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._master is not None:
            self._around.set_size(self._master, width, height, pixwidth, pixheight)
        elif self._terminal is not None:
            self._terminal = Terminal(
                name=self._terminal.name,
                columns=width,
                rows=height,
                width=pixwidth,
                height=pixheight,
                modes=self._terminal.modes,
            )

    def shell_requested(self) -> bool:
        return self._open("shell", None)

    def exec_requested(self, command: str) -> bool:
        if len(command) > MAX_COMMAND_CHARS or "\0" in command:
            return False
        return self._open("exec", command)

    def subsystem_requested(self, subsystem: str) -> bool:
        kind = SUBSYSTEMS.get(subsystem)
        if kind is not None and self._terminal is None:
            return self._open(kind, None)
        self._around.tell(TurnedDown(what="subsystem", detail=subsystem[:64]))
        return False

    def break_received(self, msec: int) -> bool:
        if self._master is None:
            return False
        self._around.send_break(self._master)
        return True

    def signal_received(self, signal: str) -> None:
        if self._requested and SIGNAL_NAME.match(signal):
            self._around.tell(Signal(channel=self.number, name=signal))

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._sink.feed(data)

    def eof_received(self) -> bool:
        self._sink.feed_end()
        return True  # the other direction stays open

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()
        if self._requested:
            self._around.tell(Hangup(channel=self.number))
        if self._pumping is not None:
            self._pumping.cancel()
        else:
            self._close_descriptors()
        self._closed(self.number)

    # -- what the supervisor answers --------------------------------------------------------------------------------

    def opened(self, descriptors: tuple[int, ...]) -> None:
        """descriptors: the terminal's master, or input, output and error; ours to close."""
        if self._pumping is not None or self._chan.is_closing():
            for fd in descriptors:
                os.close(fd)
            return
        if len(descriptors) == 1:
            self._master = descriptors[0]
            self._sources = [Source(os.dup(self._master), terminal=True)]
            self._sink.open(os.dup(self._master), terminal=True)
            # It may have been resized while the process was started.
            if self._terminal is not None:
                t = self._terminal
                self._around.set_size(self._master, t.columns, t.rows, t.width, t.height)
            writers: list[Callable[[bytes], None]] = [self._write]
        else:
            into, out, err = descriptors
            self._sources = [Source(out, terminal=False), Source(err, terminal=False)]
            self._sink.open(into, terminal=False)
            writers = [self._write, self._write_error]
        pumps = [source.pump(write, self._has_room) for source, write in zip(self._sources, writers, strict=True)]
        self._pumping = asyncio.get_running_loop().create_task(self._run(pumps))

    def denied(self, message: Denied) -> None:
        hint = f"\r\nauxilio: {message.hint}" if message.hint else ""
        self.say(f"auxilio: {message.message}{hint}")
        self._chan.exit(REFUSED_STATUS)

    def exited(self, message: Exited) -> None:
        if not self._exit.done():
            self._exit.set_result(message)
        for source in self._sources:
            source.process_exited()

    def say(self, text: str) -> None:
        """A line of ours for the technician, on standard error."""
        if not self._chan.is_closing():
            self._chan.write_stderr(f"{text}\r\n".encode())

    # -- inside -------------------------------------------------------------------------------------------------------

    def _open(self, kind: str, command: str | None) -> bool:
        self._requested = True
        asked = ((n.decode("latin-1"), v.decode("latin-1")) for n, v in self._chan.get_environment_bytes().items())
        environment = {name: value for name, value in asked if LOCALE_NAME.match(name) and LOCALE_VALUE.match(value)}
        kept = dict(list(environment.items())[:MAX_ENVIRONMENT])
        self._around.tell(
            Open(channel=self.number, kind=kind, command=command, terminal=self._terminal, environment=kept)
        )
        return True

    async def _run(self, pumps: Sequence[Awaitable[None]]) -> None:
        try:
            await asyncio.gather(*pumps)
            exited = await self._exit
            await self._has_room()
            if exited.status is not None:
                self._chan.exit(exited.status)
            else:
                self._chan.exit_with_signal(exited.signal or "KILL", exited.core_dumped)
        except (asyncssh.Error, OSError):
            self._chan.close()  # the client closed the channel while there was output
        finally:
            self._close_descriptors()

    async def _has_room(self) -> None:
        await self._room.wait()
        await self._around.leg_writable()

    def _write(self, data: bytes) -> None:
        self._chan.write(data)

    def _write_error(self, data: bytes) -> None:
        self._chan.write_stderr(data)

    def _close_descriptors(self) -> None:
        self._sink.close()
        for source in self._sources:
            source.close()
        self._sources = []
        if self._master is not None:
            os.close(self._master)
            self._master = None
