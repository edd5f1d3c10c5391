"""Small files of /proc, /sys and /etc, read with a bound and whatever their bytes are; and those that people own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_FILE_BYTES = 1024 * 1024
"""Of a file that is read whole. /proc/cpuinfo of 512 threads is 800 KiB."""


def read_bytes(path: Path | str) -> bytes:
    """Cut at MAX_FILE_BYTES. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES)


THEIRS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_theirs(name: Path | str, limit: int = MAX_FILE_BYTES, *, folder: int | None = None) -> bytes:
    """A file where others than root may write: below a home, /opt, /usr/local. Cut at `limit`.

    Nothing but a file is opened: to open a device may do something (a watchdog then restarts the machine), a pipe
    waits, and a link leads to what its maker may not read. folder: a descriptor of the folder that `name` is in.
    Raises OSError.
    """
    before = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISREG(before.st_mode):
        raise OSError(f"{name} is no file")
    descriptor = os.open(name, THEIRS, dir_fd=folder)
    with open(descriptor, "rb") as file:
        opened = os.fstat(descriptor)
        if not stat.S_ISREG(opened.st_mode) or not os.path.samestat(before, opened):
            raise OSError(f"{name} is another file by now")
        return file.read(limit)


def read_text(path: Path | str) -> str:
    """As read_bytes, with what is no UTF-8 replaced."""
    return read_bytes(path).decode("utf-8", "replace")


def read_line(path: Path | str) -> str:
    """A file of one value, stripped; "" where it is not there, not readable, or empty."""
    try:
        return read_text(path).strip().strip("\0")
    except OSError:
        return ""


def read_number(path: Path | str) -> int | None:
    """A file of one decimal number, at most 18 digits; None for anything else."""
    text = read_line(path)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def lines_of(path: Path | str, max_bytes: int) -> Iterator[str]:
    """The file's lines, each cut at `max_bytes`: a file without line feeds is not read into memory whole."""
    with open(path, "rb") as file:
        while line := file.readline(max_bytes):
            yield line.decode("utf-8", "replace")
            while not line.endswith(b"\n") and (line := file.readline(max_bytes)):
                pass
