"""What the agent needs of Windows, as far as it goes. None of this has run on Windows yet."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from protocol.errors import Refused


def peer_of(peer: socket.socket) -> tuple[int, int]:
    raise Refused("commands cannot be answered on this system yet", code="unsupported_platform")


def present_uids() -> frozenset[int]:
    return frozenset()


def is_inside(peer: socket.socket, leaders: Callable[[], frozenset[int]]) -> bool:
    return True


def lock_file(path: Path) -> int | None:
    """Opened for exclusive creation: a leftover after a crash has to be removed by hand."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
