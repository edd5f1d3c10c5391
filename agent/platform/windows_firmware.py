"""The firmware's tables on Windows: GetSystemFirmwareTable of kernel32. Needs no privilege. Has never run there yet."""

from __future__ import annotations

import ctypes
from typing import Any

RAW_SMBIOS = int.from_bytes(b"RSMB", "big")
"""The provider, a multi-character constant of C: its first letter is the highest byte."""

MAX_BYTES = 1024 * 1024


def raw_smbios(kernel32: Any = None) -> bytes:
    """RawSMBIOSData, see agent.facts.parsers.smbios.windows_table. kernel32: of ctypes, for tests another.

    Raises OSError. Source: learn.microsoft.com, "GetSystemFirmwareTable function (sysinfoapi.h)": called without a
    buffer it says how much it needs; a size of 0 is a failure; more than the buffer holds is the size it needs now.
    """
    if kernel32 is None:
        kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]  # on Windows alone
    ask = kernel32.GetSystemFirmwareTable
    ask.argtypes = [ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32]
    ask.restype = ctypes.c_uint32
    needed = ask(RAW_SMBIOS, 0, None, 0)
    if not 0 < needed <= MAX_BYTES:
        raise OSError(f"the firmware's table has {needed} bytes")
    buffer = ctypes.create_string_buffer(needed)
    written = ask(RAW_SMBIOS, 0, buffer, needed)
    if not 0 < written <= needed:
        raise OSError(f"the firmware's table has {written} bytes, and had {needed}")
    return buffer.raw[:written]
