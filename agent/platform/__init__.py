"""What differs between operating systems, behind one set of names. Nothing POSIX-only is imported before it is used."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from agent.machine import Machine
from agent.session.host import Host
from protocol.errors import Refused


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


def is_inside(peer: socket.socket, leaders: Callable[[], frozenset[int]]) -> bool:
    """Whether a local socket's peer descends from one of the processes `leaders`, or from this agent's service. True
    where nobody can tell."""
    inside: bool = _system().is_inside(peer, leaders)
    return inside


def watch_network(changed: Callable[[], None]) -> Callable[[], None]:
    """Call `changed` in the running loop after the network changed; return what ends it."""
    if os.name != "posix":
        return lambda: None
    from agent.platform import posix_network

    return posix_network.watch_network(changed)


def source_address(destination: str) -> str | None:
    """Our IP address from which packets to `destination` would leave now; None where none would, or nobody knows."""
    if os.name != "posix":
        return None
    from agent.platform import posix_network

    return posix_network.source_address(destination)


def lock_file(path: Path) -> int | None:
    """A descriptor that holds the lock at `path` for this process; None where another process holds it."""
    lock: int | None = _system().lock_file(path)
    return lock


def this_machine() -> Machine:
    """What is known here of the machine that this runs on."""
    if os.name != "posix":
        return Machine()
    from agent.platform import posix_machine

    return Machine(id=posix_machine.machine_id(), hardware=posix_machine.hardware_id())


def this_host() -> Host:
    """Raises Refused where sessions are not served on this platform."""
    if sys.platform == "win32":
        raise Refused(
            "this release serves no sessions on Windows",
            code="unsupported_platform",
            hint="Reports and everything else work; sessions need a POSIX system for now.",
        )
    from agent.platform.posix_sessions import PosixHost

    return PosixHost()
