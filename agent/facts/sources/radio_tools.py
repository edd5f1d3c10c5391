"""Programs of the system that know about radio: run with a deadline, in plain English, their output bounded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from agent.facts.source import Missing

PROGRAM_S = 4.0
MAX_OUTPUT_BYTES = 4 * 1024 * 1024
"""Of `iw scan dump` in a tower block: 300 networks of 8 KiB."""

SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin")
"""Where iw lives, which is in no ordinary account's PATH."""


def program(name: str) -> str | None:
    """Its path, where it is installed."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN))
    return shutil.which(name, path=places)


def answer_of(command: list[str], within_s: float = PROGRAM_S, *, whatever_status: bool = False) -> str:
    """What it prints. whatever_status: also where it ends with a failure. Raises Missing with the reason."""
    path = program(command[0])
    if path is None:
        raise Missing(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            [path, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within_s,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} did not answer within {within_s:.0f} s") from None
    if done.returncode != 0 and not whatever_status:
        said = _text(done.stderr or done.stdout).strip()
        raise Missing(f"{command[0]} says: {said or f'status {done.returncode}'}"[:200])
    return _text(done.stdout[:MAX_OUTPUT_BYTES])


def _text(data: bytes) -> str:
    """Windows' tools write in the console's code page."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("oem" if sys.platform == "win32" else "utf-8", "replace")
