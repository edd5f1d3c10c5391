"""System calls that a session's child never needs, refused by the kernel: to execute, to trace, to load code into it.

A deny-list on top of having no privilege: whoever takes the child over finds no program to go on with, and fewer
doors into the kernel. Where the machine is of another architecture, or its kernel knows no filters, the rest holds.
Sources: seccomp(2), linux/seccomp.h, linux/filter.h, linux/audit.h; numbers from asm/unistd.h of each architecture.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

import msgspec

PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000 | errno.EPERM

LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_GREATER_EQUAL = 0x35
RETURN = 0x06
OFFSET_NUMBER, OFFSET_ARCHITECTURE = 0, 4  # in struct seccomp_data

NO_SYSTEM_CALL = 0x40000000
"""On x86-64, numbers from here on are the x32 ABI's: a second name for each call, which a list would miss."""


class Architecture(msgspec.Struct, frozen=True):
    """audit: AUDIT_ARCH_*.  denied: numbers of the calls in DENIED, in its order."""

    audit: int
    denied: tuple[int, ...]


DENIED = (
    *("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "bpf"),
    *("keyctl", "add_key", "request_key", "userfaultfd", "io_uring_setup", "perf_event_open"),
    *("unshare", "setns", "mount", "init_module", "finit_module", "kexec_load"),
)

ARCHITECTURES = {
    "x86_64": Architecture(
        0xC000003E,
        (59, 322, 101, 310, 311, 438, 321, 250, 248, 249, 323, 425, 298, 272, 308, 165, 175, 313, 246),
    ),
    "aarch64": Architecture(
        0xC00000B7,
        (221, 281, 117, 270, 271, 438, 280, 219, 217, 218, 282, 425, 241, 97, 268, 40, 105, 273, 104),
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def program(architecture: Architecture) -> bytes:
    """The filter, as an array of struct sock_filter."""
    lines = [
        (LOAD_WORD, 0, 0, OFFSET_ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, architecture.audit),
        (RETURN, 0, 0, RET_ERRNO),  # a call by another ABI of the same machine
        (LOAD_WORD, 0, 0, OFFSET_NUMBER),
        (JUMP_GREATER_EQUAL, len(architecture.denied) + 1, 0, NO_SYSTEM_CALL),
    ]
    for position, number in enumerate(architecture.denied):
        lines.append((JUMP_EQUAL, len(architecture.denied) - position, 0, number))
    lines += [(RETURN, 0, 0, RET_ALLOW), (RETURN, 0, 0, RET_ERRNO)]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def deny_calls(libc: ctypes.CDLL) -> bool:
    """Install the filter on this thread and those it makes. False where this machine has none. Needs no_new_privs."""
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        return False
    code = program(architecture)
    filters = _Program(len(code) // 8, code)
    zero = ctypes.c_ulong(0)
    mode = ctypes.c_ulong(SECCOMP_MODE_FILTER)
    return int(libc.prctl(PR_SET_SECCOMP, mode, ctypes.byref(filters), zero, zero)) == 0
