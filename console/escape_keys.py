"""The keys that our own client heeds while everything else goes to the device: ~. ~~ ~? after a line break. Pure."""

from __future__ import annotations

from typing import Literal

Action = Literal["disconnect", "help"]

HELP = b"\r\n~.  end the session\r\n~~  send a tilde\r\n~?  this help\r\n"

_LINE_ENDS = b"\r\n"


class EscapeKeys:
    """Bytes of the keyboard in, bytes for the device and actions out. A tilde counts only at the start of a line."""

    def __init__(self) -> None:
        self._line_start = True
        self._tilde = False

    def feed(self, data: bytes) -> tuple[bytes, list[Action]]:
        out = bytearray()
        actions: list[Action] = []
        for byte in data:
            if self._tilde:
                self._tilde = False
                if byte == ord("."):
                    actions.append("disconnect")
                    break
                if byte == ord("?"):
                    actions.append("help")
                    continue
                if byte != ord("~"):
                    out.append(ord("~"))
            elif byte == ord("~") and self._line_start:
                self._tilde = True
                continue
            out.append(byte)
            self._line_start = byte in _LINE_ENDS
        return bytes(out), actions
