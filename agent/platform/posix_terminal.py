"""Pseudo-terminals as SSH asks for them: opening one for an account, its size and its modes (RFC 4254, 6.2 and 8)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios

from agent.platform.posix_accounts import tty_group
from agent.session.host import Account
from agent.session.ipc import Terminal

MAX_SIDE = 0xFFFF
"""struct winsize holds 16 bits; a client's u32 is cut to them."""

# RFC 4254, section 8: opcode to index in termios' c_cc.
CHARACTERS = {
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
    18: termios.VDISCARD,
}
NO_CHARACTER = 255
"""As a value: this character is off. Linux writes that as 0 (_POSIX_VDISABLE)."""

IFLAG, OFLAG, CFLAG, LFLAG = range(4)
IUTF8 = 0o40000  # asm-generic/termbits.h; Python's termios has no name for it

# Opcode to (field of tcgetattr's list, bit).
FLAGS = {
    30: (IFLAG, termios.IGNPAR),
    31: (IFLAG, termios.PARMRK),
    32: (IFLAG, termios.INPCK),
    33: (IFLAG, termios.ISTRIP),
    34: (IFLAG, termios.INLCR),
    35: (IFLAG, termios.IGNCR),
    36: (IFLAG, termios.ICRNL),
    38: (IFLAG, termios.IXON),
    39: (IFLAG, termios.IXANY),
    40: (IFLAG, termios.IXOFF),
    41: (IFLAG, termios.IMAXBEL),
    42: (IFLAG, IUTF8),
    50: (LFLAG, termios.ISIG),
    51: (LFLAG, termios.ICANON),
    53: (LFLAG, termios.ECHO),
    54: (LFLAG, termios.ECHOE),
    55: (LFLAG, termios.ECHOK),
    56: (LFLAG, termios.ECHONL),
    57: (LFLAG, termios.NOFLSH),
    58: (LFLAG, termios.TOSTOP),
    59: (LFLAG, termios.IEXTEN),
    60: (LFLAG, termios.ECHOCTL),
    61: (LFLAG, termios.ECHOKE),
    62: (LFLAG, termios.PENDIN),
    70: (OFLAG, termios.OPOST),
    72: (OFLAG, termios.ONLCR),
    73: (OFLAG, termios.OCRNL),
    74: (OFLAG, termios.ONOCR),
    75: (OFLAG, termios.ONLRET),
    92: (CFLAG, termios.PARENB),
    93: (CFLAG, termios.PARODD),
}
# Character size (90: 7 bits, 91: 8 bits) and line speed are a modem's; a pseudo-terminal has 8 bits and none.


def open_terminal(terminal: Terminal, account: Account) -> tuple[int, int]:
    """Return (master, slave) of a new terminal that belongs to `account`. Raises OSError."""
    master, slave = os.openpty()
    try:
        if os.geteuid() == 0:
            group = tty_group()
            os.fchown(slave, account.uid, account.gid if group is None else group)
            os.fchmod(slave, 0o620 if group is not None else 0o600)
        set_size(master, terminal.columns, terminal.rows, terminal.width, terminal.height)
        set_modes(slave, terminal.modes)
    except BaseException:
        os.close(master)
        os.close(slave)
        raise
    return master, slave


def set_size(fd: int, columns: int, rows: int, width: int, height: int) -> None:
    """Set the size; the kernel tells the foreground processes by SIGWINCH. A terminal that is gone is no error."""
    sides = (min(max(side, 0), MAX_SIDE) for side in (rows, columns, width, height))
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *sides))


def set_modes(fd: int, modes: tuple[tuple[int, int], ...]) -> None:
    """Apply what of `modes` a pseudo-terminal has; unknown opcodes are skipped, as the RFC asks."""
    attributes = termios.tcgetattr(fd)
    for opcode, value in modes:
        if opcode in CHARACTERS:
            character = 0 if value == NO_CHARACTER else value & 0xFF
            attributes[6][CHARACTERS[opcode]] = bytes((character,))
        elif opcode in FLAGS:
            field, bit = FLAGS[opcode]
            attributes[field] = attributes[field] | bit if value else attributes[field] & ~bit
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


def send_break(fd: int) -> None:
    with contextlib.suppress(OSError, termios.error):
        termios.tcsendbreak(fd, 0)
