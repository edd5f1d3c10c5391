"""A POSIX system as a session needs it: agent.session.host.Host."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from agent.platform import posix_accounts, posix_network, posix_process
from agent.platform.posix_confine import NOBODY, SLOTS, unallocated_uid
from agent.session.host import Account, Launch, Process
from protocol.errors import Unavailable

MAX_ERROR_BYTES = 16 * 1024
"""Of a child's standard error: a traceback or two for the log."""

BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from agent.session.child import main; main(sys.argv[1:])"
"""-I leaves out the working folder and PYTHONPATH, so that the child runs the agent's own code and no other."""


class PosixHost:
    def __init__(self) -> None:
        self._slots: set[int] = set()

    def account(self, principal: str) -> Account:
        return posix_accounts.resolve(principal)

    def somebody_present(self) -> bool:
        return bool(posix_accounts.present_users())

    def gateways(self) -> list[tuple[str, int]]:
        return posix_network.gateways()

    def is_own_address(self, address: str) -> bool:
        return ipaddress.ip_address(address).is_loopback or posix_network.source_address(address) == address

    def start(self, launch: Launch) -> Process:
        return posix_process.start(launch)

    def start_child(self) -> PosixChild:
        slot = next((s for s in range(SLOTS) if s not in self._slots), None)
        if slot is None:
            raise Unavailable("too many sessions at once", code="too_many_sessions")
        self._slots.add(slot)
        uid = unallocated_uid(slot) if os.geteuid() == 0 else None
        try:
            return PosixChild(uid, lambda: self._slots.discard(slot))
        except OSError as exc:
            self._slots.discard(slot)
            raise Unavailable(
                f"the device cannot start a session's process: {exc.strerror}", code="no_process"
            ) from exc


def _command(fd: int, uid: int | None) -> list[str]:
    arguments = [str(fd), "-" if uid is None else str(uid)]
    if getattr(sys, "frozen", False):
        return [sys.executable, "session-child", *arguments]
    root = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-I", "-c", BOOT, root, *arguments]


class PosixChild:
    """See agent.session.host.Child."""

    def __init__(self, uid: int | None, release: Callable[[], None]) -> None:
        """uid: what it becomes; None: the same account as ours.  release: called when it is reaped."""
        self._uid = uid
        self._release = release
        self._reaped = False
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    _command(theirs.fileno(), uid),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    env={"PATH": posix_process.USER_PATH, "LANG": posix_process.FALLBACK_LANG, "HOME": "/"},
                    cwd="/",
                    start_new_session=True,
                )
            except OSError:
                self.sock.close()
                raise
        self.errors = asyncio.get_running_loop().create_task(self._read_errors())

    @property
    def pid(self) -> int:
        return self._process.pid

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
        if self._reaped:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(posix_process.wait_unreaped(self.pid), grace_s)
        self._process.kill()
        await posix_process.wait_unreaped(self.pid)
        self._reaped = True
        self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.errors, 1.0)  # its pipe is closed: there is nobody left to write
        self._release()

    async def _read_errors(self) -> str:
        assert self._process.stderr is not None
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._process.stderr)
        kept = bytearray()
        try:
            while data := await reader.read(4096):
                kept += data[: MAX_ERROR_BYTES - len(kept)]
        finally:
            transport.close()
        return kept.decode("utf-8", "replace")
