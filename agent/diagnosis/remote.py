"""A diagnosis for a technician who is not there: the command that makes it, and its lines (protocol/diagnosis.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.diagnosis.look import Diagnosis

BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from agent.main import main; sys.exit(main())"


def look_command(state: Path) -> tuple[str, ...]:
    """What the agent starts, from any folder. It finds this very code, and what the environment says of proxies."""
    words = ("diagnose", "--lines", "--state", str(state.absolute()))
    if getattr(sys, "frozen", False):
        return (sys.executable, *words)
    root = str(Path(__file__).resolve().parents[2])
    return (sys.executable, "-I", "-c", BOOT, root, *words)


def tell_lines(write: Callable[[bytes], object]) -> Callable[[str], None]:
    """Say what was looked at, a line each."""
    from protocol.codec import encode

    return lambda name: _line(write, encode({"looked_at": name}))


def last_line(write: Callable[[bytes], object], diagnosis: Diagnosis) -> None:
    from agent.diagnosis.look import as_record
    from protocol.codec import encode

    _line(write, encode({"diagnosis": as_record(diagnosis)}))


def _line(write: Callable[[bytes], object], data: bytes) -> None:
    write(data + b"\n")
