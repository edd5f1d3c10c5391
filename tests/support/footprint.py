"""What a process takes, as the kernel says: Linux's /proc, proc(5)."""

from __future__ import annotations

import os
from pathlib import Path

MIB = 1024 * 1024


def forget_peak(pid: int) -> int:
    """Let the peak begin anew, and return the memory that is resident now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): reset the peak to what is resident
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most that was ever resident, in bytes, however shortly."""
    return _status(pid, "VmHWM")


def cpu_s(pid: int) -> float:
    """Seconds of processor time, its threads' included and its children's not."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name} of {pid}")
