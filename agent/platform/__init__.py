"""What differs between operating systems, behind one set of names. Nothing POSIX-only is imported before it is used."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import ModuleType


def _system() -> ModuleType:
    if os.name == "posix":
        from agent.platform import posix_peer

        return posix_peer
    from agent.platform import windows

    return windows


def peer_of(peer: socket.socket) -> tuple[int, int]:
    """pid and uid of a local socket's peer. Raises Refused where the system cannot say."""
    pid, uid = _system().peer_of(peer)
    return pid, uid


def present_uids() -> frozenset[int]:
    """The accounts that are logged in at the device, by number."""
    uids: frozenset[int] = _system().present_uids()
    return uids


def ancestors(pid: int) -> set[int]:
    """`pid` and the processes that it descends from, as far as the system tells."""
    found: set[int] = _system().ancestors(pid)
    return found


def lock_file(path: Path) -> int | None:
    """A descriptor that holds the lock at `path` for this process; None where another process holds it."""
    lock: int | None = _system().lock_file(path)
    return lock
