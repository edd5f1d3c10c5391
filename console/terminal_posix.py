"""The person's terminal on POSIX: raw mode, its size, its modes as SSH carries them. The console's one POSIX module."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

RESIZED = signal.SIGWINCH
HANGUP = signal.SIGHUP

# RFC 4254, section 8: opcode of each mode; our terminal's value goes with it, so that erase keys and the like fit.
_CHARACTERS = {
    1: termios.VINTR,
    2: termios.VQUIT,
    3: termios.VERASE,
    4: termios.VKILL,
    5: termios.VEOF,
    6: termios.VEOL,
    7: termios.VEOL2,
    8: termios.VSTART,
    9: termios.VSTOP,
    10: termios.VSUSP,
    12: termios.VREPRINT,
    13: termios.VWERASE,
    14: termios.VLNEXT,
}
_INPUT = {36: termios.ICRNL, 38: termios.IXON, 39: termios.IXANY, 40: termios.IXOFF, 41: termios.IMAXBEL}
_LOCAL = {
    50: termios.ISIG,
    51: termios.ICANON,
    53: termios.ECHO,
    54: termios.ECHOE,
    55: termios.ECHOK,
    56: termios.ECHONL,
    57: termios.NOFLSH,
    60: termios.ECHOCTL,
    61: termios.ECHOKE,
    59: termios.IEXTEN,
}
_OUTPUT = {70: termios.OPOST, 72: termios.ONLCR}
_UTF8 = 42  # IUTF8, RFC 8160


def size(descriptor: int) -> tuple[int, int, int, int]:
    """Columns, rows, and pixels both ways (0 where unknown). 80 x 24 where the system does not say."""
    try:
        raw = fcntl.ioctl(descriptor, termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return 80, 24, 0, 0
    rows, columns, width, height = struct.unpack("HHHH", raw)
    return columns or 80, rows or 24, width, height


def modes(descriptor: int) -> dict[int, int]:
    """The terminal's modes by SSH's opcodes. To be read before raw mode."""
    try:
        input_, output, _, local, _, _, characters = termios.tcgetattr(descriptor)
    except termios.error:
        return {}
    found = {opcode: ord(characters[index]) for opcode, index in _CHARACTERS.items()}
    for table, flags in ((_INPUT, input_), (_LOCAL, local), (_OUTPUT, output)):
        found |= {opcode: int(bool(flags & flag)) for opcode, flag in table.items()}
    if "utf-8" in os.environ.get("LC_ALL", os.environ.get("LANG", "")).lower():
        found[_UTF8] = 1
    return found


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Every key goes through, Ctrl-C too; put back on every way out."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
