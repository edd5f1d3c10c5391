"""Who is at the other end of a local socket, who is logged in, and which processes descend from which. POSIX."""

from __future__ import annotations

import fcntl
import os
import pwd
import socket
import struct
from pathlib import Path

from agent.platform.posix_accounts import present_users

MAX_DEPTH = 256


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


def ancestors(pid: int) -> set[int]:
    """`pid`, its parents, and the leaders of their sessions."""
    found: set[int] = set()
    while pid > 1 and pid not in found and len(found) < MAX_DEPTH:
        found.add(pid)
        try:
            found.add(os.getsid(pid))
            fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
            pid = int(fields[1])
        except (OSError, ValueError, IndexError):
            break
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
