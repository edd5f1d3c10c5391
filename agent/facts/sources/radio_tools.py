"""Programs of the system that know about radio: what they print, as text."""

from __future__ import annotations

import sys

from agent.facts.source import Missing, find_program
from agent.facts.sources.command import run

PROGRAM_S = 4.0
MAX_OUTPUT_BYTES = 4 * 1024 * 1024
"""Of `iw scan dump` in a tower block: 300 networks of 8 KiB."""


def program(name: str) -> str | None:
    """Its path, where it is installed."""
    return find_program(name)


def answer_of(command: list[str], within_s: float = PROGRAM_S, *, whatever_status: bool = False) -> str:
    """What it prints. whatever_status: also where it ends with a failure. Raises Missing with the reason."""
    printed = run(*command, deadline_s=within_s, limit=MAX_OUTPUT_BYTES)
    if printed.status != 0 and not whatever_status:
        said = printed.fault or _text(printed.output).strip()
        raise Missing(f"{command[0]} says: {said or f'status {printed.status}'}"[:200])
    return _text(printed.output)


def _text(data: bytes) -> str:
    """Windows' tools write in the console's code page."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("oem" if sys.platform == "win32" else "utf-8", "replace")
