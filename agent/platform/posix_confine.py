"""Give up every privilege, for good: what a session's child does before it hears a byte from the network.

After `confine` the process is an account that owns nothing and runs nothing else; it has no group, no capability and
no way back to one (empty bounding set, no_new_privs), cannot be traced or dumped, and can execute nothing, make no
process and write no file. Where the agent is not root it stays the same account, and all the rest still holds.
Sources: capabilities(7), prctl(2), getrlimit(2); constants from linux/prctl.h and linux/capability.h.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal

from agent.platform.posix_seccomp import deny_calls

FIRST_UID = 0x41580000
"""Session children take uids from here on, one each: above every range that adduser, systemd or containers assign."""

SLOTS = 256
NOBODY = 65534
"""Where the first cannot be had: in a user namespace that maps few uids."""

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
LAST_CAPABILITY = 63
CAPABILITY_VERSION_3 = 0x20080522

MAX_DATA_BYTES = 512 * 1024 * 1024
"""A child that grows to this is broken or attacked; it takes 50 MiB."""

MAX_DESCRIPTORS = 256


def unallocated_uid(slot: int) -> int:
    """A uid that no account has. slot: 0 to SLOTS-1, one for each child that lives."""
    uid = FIRST_UID + slot % SLOTS
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return uid
    return NOBODY


def confine(uid: int | None) -> None:
    """Become `uid` (None: stay who we are) and nothing more. Raises OSError where any of it fails: then exit.

    Threads made before keep some of their privilege: call it while there is only one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    os.umask(0o077)
    os.chdir("/")
    if os.geteuid() == 0:
        _prctl(libc, PR_SET_KEEPCAPS, 0)
        _drop_bounding_set(libc)
    _prctl(libc, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    if uid is not None:
        _become(uid)
    _clear_capabilities(libc)
    _prctl(libc, PR_SET_NO_NEW_PRIVS, 1)
    deny_calls(libc)
    _prctl(libc, PR_SET_DUMPABLE, 0)
    # Cleared by the change of uid, so set after it: nobody is left to end a child whose supervisor was killed.
    _prctl(libc, PR_SET_PDEATHSIG, signal.SIGKILL)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        (resource.RLIMIT_DATA, MAX_DATA_BYTES),
    ):
        _limit(limit, value)


def forbid_processes() -> None:
    """No process and no thread from here on; called when the one thread that resolves names is there."""
    _limit(resource.RLIMIT_NPROC, 0)


def _limit(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (lowest, lowest))


def _become(uid: int) -> None:
    try:
        _set_ids(uid)
    except OSError:
        if uid == NOBODY:
            raise
        _set_ids(NOBODY)


def _set_ids(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _drop_bounding_set(libc: ctypes.CDLL) -> None:
    zero = ctypes.c_ulong(0)
    for capability in range(LAST_CAPABILITY + 1):
        if libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(capability), zero, zero, zero) != 0:
            return  # past the last one that this kernel knows; `confined` asks the kernel whether all are gone


def _clear_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    empty = (ctypes.c_uint32 * 6)()
    if libc.capset(header, empty) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")
