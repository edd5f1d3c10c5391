"""openat2(2) and renameat2(2), which Python's os does not have. Linux 5.6 or later; errors are OSError."""

from __future__ import annotations

import ctypes
import os
import struct
import sys

SYS_OPENAT2 = 437  # the same on every architecture (asm-generic/unistd.h)

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
RENAME_NOREPLACE = 1


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _raise(path: bytes) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


def openat2(directory: int, path: bytes, flags: int, *, resolve: int) -> int:
    """A descriptor of `path` below `directory`, which nothing on the way leads out of (resolve: RESOLVE_*)."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    if sys.platform != "linux":
        raise OSError(38, "no openat2 on this system", path)  # ENOSYS
    fd = int(_libc().syscall(SYS_OPENAT2, directory, ctypes.c_char_p(path), how, ctypes.c_size_t(len(how))))
    if fd < 0:
        _raise(path)
    return fd


def rename_noreplace(from_directory: int, old: bytes, to_directory: int, new: bytes) -> None:
    """Rename within and between directories, failing with EEXIST where `new` is there."""
    result = _libc().renameat2(
        from_directory, ctypes.c_char_p(old), to_directory, ctypes.c_char_p(new), ctypes.c_uint(RENAME_NOREPLACE)
    )
    if result < 0:
        _raise(new)
