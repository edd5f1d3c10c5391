"""Small files of /proc, /sys and /etc, read with a bound and whatever their bytes are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MAX_FILE_BYTES = 1024 * 1024
"""Of a file that is read whole. /proc/cpuinfo of 512 threads is 800 KiB."""


def read_bytes(path: Path | str) -> bytes:
    """Cut at MAX_FILE_BYTES. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES)


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
