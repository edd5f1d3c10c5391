"""Who is at the other end of a local socket, who is logged in, and which processes descend from which. POSIX."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import select
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from agent.platform.posix_accounts import present_users

MAX_DEPTH = 256

SO_PEERPIDFD = 77
"""Linux's asm-generic/socket.h; Python has no name for it yet."""

OUR_SERVICE = "auxilio-agent.service"


def peer_of(peer: socket.socket) -> tuple[int, int]:
    """pid and uid of a Unix socket's peer, by the kernel (unix(7), SO_PEERCRED)."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return pid, uid


def present_uids() -> frozenset[int]:
    """Who is logged in, by uid."""
    uids = set()
    for name in present_users():
        try:
            uids.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue
    return frozenset(uids)


def is_inside(peer: socket.socket, leaders: Callable[[], frozenset[int]]) -> bool:
    """Whether the process that connected `peer` descends from one of `leaders` (or is in a session that one leads), or
    from our service. True where it is gone: somebody who does not stay to be looked at is not the customer.

    The kernel names the process that called connect(2), which may have handed its socket on and left; another one may
    have its number by then. So it is held by a descriptor while it is looked at.
    """
    try:
        pid, _ = peer_of(peer)
        held = _hold(peer, pid)
    except OSError:
        return True
    try:
        family = ancestors(pid)
        inside = bool(family & leaders()) or shares_our_service(pid)
        gone, _, _ = select.select([held], [], [], 0)
    except (OSError, ValueError):
        return True
    finally:
        os.close(held)
    return inside or bool(gone)


def _hold(peer: socket.socket, pid: int) -> int:
    """A pidfd of the process that connected. Raises OSError where it is gone. Source: unix(7), SO_PEERPIDFD."""
    try:
        return struct.unpack("i", peer.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, struct.calcsize("i")))[0]  # type: ignore[no-any-return]  # an int
    except OSError as exc:
        if exc.errno != errno.ENOPROTOOPT:
            raise  # it is gone, and its number may be somebody else's by now
        return os.pidfd_open(pid)  # before Linux 6.5


def ancestors(pid: int) -> set[int]:
    """`pid`, its parents, and the leaders of their sessions. Raises OSError or ValueError where one is gone."""
    found: set[int] = set()
    if pid <= 0:
        raise ValueError("a process of another pid namespace")
    while pid > 1 and pid not in found:
        if len(found) >= MAX_DEPTH:
            raise ValueError("a line of parents without end")
        found.add(pid)
        found.add(os.getsid(pid))
        fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        pid = int(fields[1])
    return found


def shares_our_service(pid: int, proc: Path = Path("/proc")) -> bool:
    """True where this process is the main one of a systemd service and `pid` is in the same control group.

    A process cannot leave its service's group without privilege, however often it forks (cgroups(7)). Where the
    agent was started by hand the group is that of a whole login, and says nothing. proc: where procfs is.
    """
    try:
        ours = _systemd_group((proc / "self" / "cgroup").read_text("ascii", "replace"))
    except OSError:
        return False
    if ours is None or not ours.endswith(".service"):
        return False
    # systemd.exec(5); before its version 248 only the name of our own unit tells.
    if os.environ.get("SYSTEMD_EXEC_PID") != str(os.getpid()) and not ours.endswith(f"/{OUR_SERVICE}"):
        return False
    try:
        theirs = _systemd_group((proc / str(pid) / "cgroup").read_text("ascii", "replace"))
    except OSError:
        return True  # it is gone, and nobody can tell any more
    return ours == theirs


def _systemd_group(text: str) -> str | None:
    """The path in the hierarchy that systemd keeps: `0::PATH`, or `N:name=systemd:PATH` in the older layout."""
    found = None
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "name=systemd":
            return path
        if number == "0" and not controllers:
            found = path
    return found


def lock_file(path: Path) -> int | None:
    """Take the lock at `path` for as long as this process lives; None where another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
