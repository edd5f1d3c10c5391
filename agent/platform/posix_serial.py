"""Asking a modem on its serial port: one command after the other, each with a deadline, the port left as it was.

The port is opened without waiting for a carrier and closed to others while it is ours (TIOCEXCL, tty_ioctl(4)).
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import termios
from collections.abc import Iterable
from pathlib import Path

from protocol.system_clock import SystemClock

ANSWER_S = 1.5
"""Most answers take 20 ms; AT+COPS? may have to ask the card."""

WHOLE_S = 10.0
MAX_ANSWER_BYTES = 16 * 1024
FINAL = re.compile(rb"^(OK|ERROR|\+CM[ES] ERROR:[^\r\n]*|COMMAND NOT SUPPORT)\r?$", re.MULTILINE)
"""3GPP TS 27.007 section 9; the last is Quectel's."""

PROC = Path("/proc")

Attributes = list[int | list[bytes | int]]
"""As termios has them."""


class Port:
    """An open port. Raises OSError where it cannot be opened: no permission, in use (EBUSY), gone."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._clock = SystemClock()
        self._until = self._clock.monotonic() + WHOLE_S
        self._before: Attributes | None = None
        try:
            fcntl.ioctl(self._fd, termios.TIOCEXCL)
            self._before = termios.tcgetattr(self._fd)
            termios.tcsetattr(self._fd, termios.TCSANOW, _raw(self._before))
            termios.tcflush(self._fd, termios.TCIOFLUSH)
        except (OSError, termios.error):
            pass  # the kernel's WWAN ports are raw by themselves, and know little of terminals

    def ask(self, command: str) -> str:
        """What was said, the echo too, up to the final result; "" where nothing came in time."""
        deadline = min(self._until, self._clock.monotonic() + ANSWER_S)
        self._write(command.encode("ascii") + b"\r", deadline)
        said = b""
        while len(said) < MAX_ANSWER_BYTES and not FINAL.search(said):
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0 or not select.select([self._fd], [], [], left_s)[0]:
                break
            piece = os.read(self._fd, 4096)
            if not piece:
                break
            said += piece
        return said[:MAX_ANSWER_BYTES].decode("ascii", "replace")

    def _write(self, data: bytes, deadline: float) -> None:
        while data:
            left_s = deadline - self._clock.monotonic()
            if left_s <= 0 or not select.select([], [self._fd], [], left_s)[1]:
                return
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        try:
            termios.tcflush(self._fd, termios.TCIOFLUSH)  # closing waits for what was never sent, for half a minute
            if self._before is not None:
                termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        except (OSError, termios.error):
            pass  # unplugged meanwhile
        os.close(self._fd)


def is_held(path: str, proc: Path = PROC) -> bool:
    """Whether any process has it open. Only root sees the descriptors of all: for others, True where one is hidden."""
    device = os.path.realpath(path)
    for entry in _numbers(proc):
        try:
            links = os.listdir(entry / "fd")
        except PermissionError:
            return True
        except OSError:
            continue  # it ended
        if any(_target(entry / "fd" / link) == device for link in links):
            return True
    return False


def _numbers(proc: Path) -> Iterable[Path]:
    return (entry for entry in proc.iterdir() if entry.name.isdigit())


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _raw(before: Attributes) -> Attributes:
    """As cfmakeraw(3) makes it, 115200 baud, no flow control: USB modems ignore the speed."""
    characters = list(before[6]) if isinstance(before[6], list) else []
    characters[termios.VMIN], characters[termios.VTIME] = 0, 0
    flags = termios.CS8 | termios.CREAD | termios.CLOCAL
    return [termios.IGNBRK, 0, flags, 0, termios.B115200, termios.B115200, characters]
