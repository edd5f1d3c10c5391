"""Session children: the nursery they are forked from, their uids, and what the kernel says of each."""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from agent.platform import posix_process
from agent.platform.posix_confine import NOBODY, SLOTS, unallocated_uid
from agent.session.nursery_wire import FAILED, KEEP_UID, REPLY, REQUEST
from protocol.errors import Unavailable

MAX_ERROR_BYTES = 16 * 1024
"""Of a child's standard error: a traceback or two for the log."""

KEPT_S = 300.0
"""The nursery stays so long after the last session: who repairs a machine comes back within minutes."""

FORKED_WITHIN_S = 60.0
"""For the nursery's own start; on a swapping laptop with a failing disk it takes long."""

BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from agent.session.nursery import main; main(sys.argv[1:])"
"""-I leaves out the working folder and PYTHONPATH, so that it runs the agent's own code and no other."""

ENVIRONMENT = {"PATH": posix_process.USER_PATH, "LANG": posix_process.FALLBACK_LANG, "HOME": "/"}


SESSION_BYTES = 24 * 1024 * 1024
"""A child's own memory in use, beside what it shares with the nursery; its windows may take some more."""

MEMINFO = Path("/proc/meminfo")
MANY = 1_000_000


def room() -> int:
    """How many more sessions fit into half of the memory that is free now (proc(5), MemAvailable)."""
    try:
        lines = MEMINFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return MANY  # no Linux, or no /proc: nobody knows
    available = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(available) * 1024 // 2 // SESSION_BYTES if available is not None and available.isdigit() else MANY


class Children:
    """Starts them, one after the other. Of one supervisor."""

    def __init__(self) -> None:
        self._slots: set[int] = set()
        self._nursery: Nursery | None = None
        self._turn = asyncio.Lock()
        self._leaving: asyncio.TimerHandle | None = None

    async def start(self) -> PosixChild:
        """Raises Unavailable."""
        slot = next((s for s in range(SLOTS) if s not in self._slots), None)
        if slot is None:
            raise Unavailable("too many sessions at once", code="too_many_sessions")
        self._slots.add(slot)
        if self._leaving is not None:
            self._leaving.cancel()
        try:
            async with self._turn:
                return await self._fork(slot)
        except BaseException:
            self._release(slot)
            raise

    async def _fork(self, slot: int) -> PosixChild:
        uid = unallocated_uid(slot) if os.geteuid() == 0 else None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, writing = os.pipe()
        try:
            if self._nursery is None or self._nursery.is_gone:
                self._nursery = Nursery()
            pid, pidfd = await self._nursery.fork(uid, theirs.fileno(), writing)
        except BaseException as exc:
            ours.close()
            os.close(reading)
            if self._nursery is not None:
                self._nursery.end()  # whatever it was about to answer is nobody's any more
            self._nursery = None
            if isinstance(exc, OSError | TimeoutError):
                why = exc.strerror or "it does not answer"
                raise Unavailable(f"the device cannot start a session's process: {why}", code="no_process") from exc
            raise
        finally:
            theirs.close()
            os.close(writing)
        return PosixChild(pid, pidfd, uid, ours, reading, lambda: self._release(slot))

    def close(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        if self._nursery is not None:
            self._nursery.end()
            self._nursery = None

    def _release(self, slot: int) -> None:
        self._slots.discard(slot)
        if not self._slots and self._nursery is not None:
            self._leaving = asyncio.get_running_loop().call_later(KEPT_S, self._leave)

    def _leave(self) -> None:
        if not self._slots and self._nursery is not None:
            self._nursery.end()
            self._nursery = None


class Nursery:
    """The process of agent.session.nursery."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    _command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    env=ENVIRONMENT,
                    cwd="/",
                    start_new_session=True,
                )
            except OSError:
                self._control.close()
                raise

    @property
    def is_gone(self) -> bool:
        return self._process.poll() is not None

    async def fork(self, uid: int | None, session: int, errors: int) -> tuple[int, int]:
        """(pid, pidfd) of a new child. Raises OSError, TimeoutError; then the nursery is of no further use."""
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [session, errors]))]
        self._control.sendmsg([REQUEST.pack(KEEP_UID if uid is None else uid)], rights)
        async with asyncio.timeout(FORKED_WITHIN_S):
            await self._readable()
        packet, ancillary, _, _ = self._control.recvmsg(REPLY.size, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        pid = REPLY.unpack(packet)[0] if packet else FAILED
        if pid == FAILED or not ancillary:
            raise OSError(0, "it could not be forked")
        (pidfd,) = array.array("i", ancillary[0][2])
        return pid, pidfd

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._control, posix_process.complete, waiter)
        try:
            await waiter
        finally:
            loop.remove_reader(self._control)

    def end(self) -> None:
        """It leaves at the end of its input. Its children die with it: only call this without any, or at our end."""
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _command(fd: int) -> list[str]:
    if getattr(sys, "frozen", False):
        return [sys.executable, "session-nursery", str(fd)]
    root = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-I", "-c", BOOT, root, str(fd)]


class PosixChild:
    """See agent.session.host.Child."""

    def __init__(
        self,
        pid: int,
        pidfd: int,
        uid: int | None,
        sock: socket.socket,
        errors: int,
        release: Callable[[], None],
    ) -> None:
        """pidfd, sock, errors (the pipe of its standard error): ours to close.  uid: what it becomes; None: the same
        account as ours.  release: called when it is gone."""
        self.pid = pid
        self.sock = sock
        self._pidfd = pidfd
        self._uid = uid
        self._release = release
        self._gone = False
        self.errors = asyncio.get_running_loop().create_task(_read_errors(errors))

    def confined(self) -> bool:
        try:
            status = posix_process.status_of(self.pid)
        except OSError:
            return False
        powers = ["CapInh", "CapPrm", "CapEff", "CapAmb"]
        if self._uid is not None:
            powers.append("CapBnd")
            ids = status.get("Uid", "").split() + status.get("Gid", "").split()
            if len(ids) != 8 or not {*ids} <= {str(self._uid), str(NOBODY)} or status.get("Groups"):
                return False
        return status.get("NoNewPrivs") == "1" and all(int(status.get(p, "1"), 16) == 0 for p in powers)

    async def end(self, grace_s: float) -> None:
        if self._gone:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(posix_process.wait_for(self._pidfd), grace_s)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        await posix_process.wait_for(self._pidfd)
        self._gone = True
        os.close(self._pidfd)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.errors, 1.0)  # its pipe is closed: there is nobody left to write
        self._release()


async def _read_errors(pipe: int) -> str:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb"))
    kept = bytearray()
    try:
        while data := await reader.read(4096):
            kept += data[: MAX_ERROR_BYTES - len(kept)]
    finally:
        transport.close()
    return kept.decode("utf-8", "replace")
