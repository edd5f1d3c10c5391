"""The process that speaks SSH for one session, and may do nothing else.

    forked with everything imported -> give up every privilege -> Ready -> Start -> dial the leg -> SSH -> Leaving

Nothing from the network is read before privilege is gone, and nothing is imported after it: an interpreter may live
where the session's uid cannot read. The process ends with its session, and gives its memory back (agent.session.nursery
forks it).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from msgspec.structs import replace

from agent.session.endpoint import Endpoint
from agent.session.ipc import (
    Away,
    Back,
    Denied,
    Doubt,
    Exited,
    Finish,
    Joined,
    Leaving,
    Opened,
    Ready,
    Resume,
    Signed,
    Start,
    ToChild,
    decode_to_child,
)
from protocol.codec import Record
from protocol.errors import AuxilioError, BadMessage, Unavailable
from protocol.ids import SessionId, parse_session_id
from transport.leg import Leg, open_leg
from transport.leg_dial import dial_leg
from transport.relay_address import RelayAddress, parse_address
from transport.resuming import Resuming
from transport.websocket import Connection

if TYPE_CHECKING:
    from agent.session.child_server import Server, SupervisorKey

EXIT_FAILED = 1
LATE_IMPORTS = ("concurrent.futures.thread", "encodings.idna")
"""Modules that others import when they first need them, and that could not be read any more by then."""

RESPLICE_WITHIN_S = 20.0
"""For the console's leg, which it dials at the same time."""

READ_IT_S = 0.2
"""Between our last line and the disconnect: OpenSSH's client drops what it has not printed when it is disconnected."""

GOODBYE_S = 2.5
"""For the last line to reach the technician; a bit more than a leg takes to flush after an abort."""


class Modules(NamedTuple):
    """What a session needs, imported while it can be read."""

    server: ModuleType
    confine: ModuleType
    terminal: ModuleType


def prepare() -> Modules:
    """Import all that `run` needs. In the process from which children are forked."""
    server = _import_all()
    from agent.platform import posix_confine, posix_terminal

    return Modules(server, posix_confine, posix_terminal)


def run(modules: Modules, fd: int, uid: int | None) -> NoReturn:
    """Give up every privilege, serve the session, and exit. In a process of its own.

    fd: our end of the socketpair.  uid: to become; None: stay who we are.
    """
    status = EXIT_FAILED
    try:
        modules.confine.confine(uid)
        loop = asyncio.new_event_loop()
        serving = _run(fd, modules.server, modules.terminal, modules.confine.forbid_processes)
        status = loop.run_until_complete(serving)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    # Not sys.exit: asyncio and threading tidy up by starting threads, which is forbidden, and there is nothing to keep.
    os._exit(status)


def _import_all() -> ModuleType:
    """Import all that a session needs, and return agent.session.child_server.

    asyncssh looks for liboqs by ctypes.util.find_library, which executes ldconfig, gcc and ld. ML-KEM comes from
    cryptography, so nothing is missing where nothing is found.
    """
    import ctypes.util

    find, ctypes.util.find_library = ctypes.util.find_library, lambda name: None
    try:
        from agent.session import child_server
    finally:
        ctypes.util.find_library = find
    for name in LATE_IMPORTS:
        importlib.import_module(name)
    return child_server


async def _run(fd: int, child_server: ModuleType, terminals: ModuleType, forbid: Callable[[], None]) -> int:
    loop = asyncio.get_running_loop()
    # Names are resolved in a thread, and it must be there before threads are forbidden.
    executor = ThreadPoolExecutor(max_workers=1)
    loop.set_default_executor(executor)
    with contextlib.suppress(OSError):
        await loop.run_in_executor(None, socket.getaddrinfo, "localhost", 443)
    forbid()
    endpoint = Endpoint(socket.socket(fileno=fd), descriptors=True)
    try:
        return await Session(endpoint, child_server, terminals).run()
    finally:
        endpoint.close()


class Session:
    """What the child knows of its session; the Surroundings of its channels."""

    def __init__(self, endpoint: Endpoint, child_server: ModuleType, terminals: ModuleType) -> None:
        self._endpoint = endpoint
        self._child_server = child_server
        self.set_size: Callable[[int, int, int, int, int], None] = terminals.set_size
        self.send_break: Callable[[int], None] = terminals.send_break
        self._leg: Leg | None = None
        self._server: Server | None = None
        self._offered: asyncio.Queue[Resume] = asyncio.Queue(1)
        self._finished: asyncio.Future[Finish] = asyncio.get_running_loop().create_future()

    async def run(self) -> int:
        self.tell(Ready())
        first = await self._endpoint.receive()
        start = decode_to_child(first[0]) if first is not None else None
        if not isinstance(start, Start):
            return EXIT_FAILED
        loop = asyncio.get_running_loop()
        listening = loop.create_task(self._listen())
        speaking = loop.create_task(self._speak(start))
        try:
            await asyncio.wait((listening, speaking), return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                self.tell(speaking.result())
                return 0
            # The supervisor said Finish, or is gone: either way this is over.
            listening.result()
            await self._say_goodbye()
            return 0
        finally:
            listening.cancel()
            speaking.cancel()
            await asyncio.wait((listening, speaking))

    def tell(self, message: Record) -> None:
        self._endpoint.send(message)

    async def leg_writable(self) -> None:
        if self._leg is not None:
            await self._leg.writable()

    async def _listen(self) -> None:
        """Serve the supervisor's messages until it says Finish, or is gone."""
        while (packet := await self._endpoint.receive()) is not None:
            message = decode_to_child(packet[0])
            if isinstance(message, Finish):
                self._finished.set_result(message)
                return
            self._heed(message, packet[1])

    def _heed(self, message: ToChild, descriptors: tuple[int, ...]) -> None:
        if isinstance(message, Resume | Doubt):
            self._heed_leg(message)
            return
        number = message.channel if isinstance(message, Opened | Denied | Exited) else 0
        channel = self._server.channel(number) if self._server is not None else None
        if isinstance(message, Opened) and channel is not None:
            channel.opened(descriptors)
            return
        for fd in descriptors:  # for a channel that the client closed meanwhile
            os.close(fd)
        if channel is None or isinstance(message, Opened):
            return
        if isinstance(message, Denied):
            channel.denied(message)
        elif isinstance(message, Exited):
            channel.exited(message)
        elif isinstance(message, Signed | Start):
            raise BadMessage("out of turn")

    def _heed_leg(self, message: Resume | Doubt) -> None:
        if self._leg is None:
            return
        if isinstance(message, Doubt):
            self._leg.doubt()
            return
        if self._offered.full():
            self._offered.get_nowait()  # its ticket is worth nothing any more
        self._offered.put_nowait(message)
        self._leg.drop()

    async def _dial_again(self, session: SessionId) -> Connection:
        """The next leg that the supervisor was offered. Raises Unavailable where it came to nothing."""
        offered = await self._offered.get()
        try:
            return await dial_leg(_address(offered), session, offered.ticket, splice_timeout_s=RESPLICE_WITHIN_S)
        except AuxilioError as exc:
            raise Unavailable(exc.message) from exc  # its technician asks again

    async def _speak(self, start: Start) -> Leaving:
        """Dial, serve SSH until it ends, and return our last words."""
        server: Server = self._child_server.Server(start, self)
        key: SupervisorKey = self._child_server.SupervisorKey(start.host_key, self._endpoint, server.is_strict)
        self._server = server
        try:
            session = parse_session_id(start.session)
            resuming = Resuming(
                dial=lambda: self._dial_again(session),
                for_s=start.resume_for_s,
                attempt_s=start.resume_for_s,
                on_away=lambda: self.tell(Away()),
                on_back=lambda: self.tell(Back()),
            )
            self._leg = await open_leg(_address(start), session, start.ticket, resuming=resuming)
            self.tell(Joined())
            await self._child_server.serve(self._leg, start, key, server)
            if server.connection is not None:
                await server.connection.wait_closed()
        except AuxilioError as exc:
            return Leaving(reason="lost", message=exc.message)
        except self._child_server.SSH_ERRORS as exc:
            return Leaving(reason="failed", message=f"SSH ended: {str(exc)[:200]}")
        return self._last_words(server.lost, self._leg)

    def _last_words(self, lost: Exception | None, leg: Leg) -> Leaving:
        if leg.error is not None:
            return Leaving(reason="lost", message=leg.error.message)
        if lost is not None:
            return Leaving(reason="lost", message=f"SSH ended: {str(lost)[:200]}")
        return Leaving(reason="closed", message="the technician closed the session")

    async def _say_goodbye(self) -> None:
        if self._leg is None:
            return
        finish = self._finished.result() if self._finished.done() else None
        if finish is not None and self._server is not None and self._server.connection is not None:
            text = f"the session was ended: {finish.message}"
            self._server.say_to_all(f"\r\nauxilio: {text}")
            await asyncio.sleep(READ_IT_S)
            # This closes the leg as well, behind the last words.
            self._server.connection.disconnect(self._child_server.SESSION_OVER, text)
        else:
            self._leg.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leg.wait_closed(), GOODBYE_S)


def _address(leg: Start | Resume) -> RelayAddress:
    return replace(parse_address(leg.relay_url, leg.pin), proxy=leg.proxy)
