"""The process that serves files to one channel: SFTP on standard input and output, as the account.

It is started like a shell, becomes the account before it reads a byte, and can execute nothing from then on. Each
request that reveals or changes a file is a line on the descriptor `notes`, for the device's log, before it is served;
the line has to fit in the pipe, so what cannot be logged waits.
"""

from __future__ import annotations

import os
import sys

from agent.files.root import Root
from agent.files.server import Server
from protocol.errors import BadMessage
from protocol.sftp import Packets

READ_BYTES = WRITE_BYTES = 256 * 1024
MAX_NOTE_BYTES = 4096
"""PIPE_BUF of Linux: a note is written whole or not at all."""

PR_SET_NO_NEW_PRIVS = 38


def main(arguments: list[str]) -> int:
    """arguments: ROOT HOME rw|ro NOTES. Exit status: 0 at the end of input; 1 where the root cannot be opened or the
    client does not speak SFTP, with a line on standard error."""
    root, home, access, notes = arguments
    _no_new_privileges()

    def note(what: str, path: bytes) -> None:
        os.write(int(notes), b"%s %s\0" % (what.encode(), path[: MAX_NOTE_BYTES - 32]))

    try:
        server = Server(Root(os.fsencode(root), os.fsencode(home)), writable=access == "rw", note=note)
        _serve(server)
    except OSError as exc:
        print(f"auxilio: files below {root!r} cannot be served: {exc.strerror}", file=sys.stderr)
        return 1
    except BadMessage as exc:
        print(f"auxilio: this is not SFTP: {exc.message}", file=sys.stderr)
        return 1
    return 0


def _serve(server: Server) -> None:
    packets, replies, waiting = Packets(), [], 0
    while data := os.read(0, READ_BYTES):
        for request in packets.feed(data):
            replies.append(server.answer(request))
            waiting += len(replies[-1])
            if waiting >= WRITE_BYTES:  # requests are small and replies may be large: few are kept
                _write_all(replies)
                waiting = 0
        _write_all(replies)
        waiting = 0


def _write_all(replies: list[bytes]) -> None:
    """Write and forget `replies`; small ones in one piece."""
    view = memoryview(b"".join(replies) if len(replies) != 1 else replies[0])
    replies.clear()
    while view:
        view = view[os.write(1, view) :]


def _no_new_privileges() -> None:
    """Whatever an account's file says, nothing that this process could start would gain rights by it (prctl(2))."""
    import ctypes

    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
