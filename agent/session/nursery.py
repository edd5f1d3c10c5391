"""The process from which session children are forked: it has imported SSH once, so that each of them need not.

An import takes a child 0.3 s and 40 MiB of its own; a fork takes milliseconds, and shares what was imported. This
process is started at the first session, reads no network and holds no key, and ends when the supervisor says so (after
a while without sessions) or is gone.

    supervisor                                        nursery
       |  uid + session socket + standard error ------>  |  fork: the child gives up every privilege, then serves
       |  <----------------------------- pid + pidfd     |

One request at a time; a packet each (SEQPACKET), descriptors beside it.
"""

from __future__ import annotations

import array
import gc
import os
import signal
import socket
import sys

from agent.session import child
from agent.session.nursery_wire import FAILED, KEEP_UID, REPLY, REQUEST


def main(arguments: list[str]) -> None:
    """arguments: the number of our end of the socketpair."""
    control = socket.socket(fileno=int(arguments[0]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps; the supervisor has a pidfd of each
    modules = child.prepare()
    gc.collect()
    gc.freeze()  # what is imported stays: no collection writes to the pages that all children share
    while True:
        packet, ancillary, _, _ = control.recvmsg(REQUEST.size, socket.CMSG_SPACE(8), socket.MSG_CMSG_CLOEXEC)
        if not packet:
            return
        (uid,) = REQUEST.unpack(packet)
        session, errors = array.array("i", ancillary[0][2])
        _fork(control, modules, session, errors, None if uid == KEEP_UID else uid)


def _fork(control: socket.socket, modules: child.Modules, session: int, errors: int, uid: int | None) -> None:
    try:
        pid = os.fork()
    except OSError:
        pid = FAILED
    if pid == 0:
        control.close()
        os.setsid()
        os.dup2(errors, 2)
        os.close(errors)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child.run(modules, session, uid)
    os.close(session)
    os.close(errors)
    _answer(control, pid)


def _answer(control: socket.socket, pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid) if pid != FAILED else None
    except OSError:  # gone already
        pid, pidfd = FAILED, None
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pidfd]))] if pidfd is not None else []
    control.sendmsg([REPLY.pack(pid)], rights)
    if pidfd is not None:
        os.close(pidfd)


if __name__ == "__main__":
    main(sys.argv[1:])
