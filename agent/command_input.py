"""What a command takes: its arguments' values, a file, or standard input. Bounded."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from protocol.errors import ConfigInvalid, UsageInvalid


def read_input(path: Path | None, what: str, limit: int) -> str:
    """A file, or standard input where it is no terminal. Raises ConfigInvalid, UsageInvalid."""
    try:
        if path is not None and str(path) != "-":
            with open(path, encoding="utf-8") as file:
                text = file.read(limit + 1)
        elif sys.stdin is None or sys.stdin.isatty():
            raise UsageInvalid(f"no {what} was given", hint=f"Give the {what} as an argument, by --file, or by a pipe.")
        else:
            text = sys.stdin.read(limit + 1)
    except UnicodeDecodeError as exc:
        raise ConfigInvalid(f"the {what} is not text", hint="Is it the right file?") from exc
    except OSError as exc:
        raise ConfigInvalid(f"{path} cannot be read: {exc.strerror or exc}", hint="Check the path.") from exc
    if len(text) > limit:
        raise ConfigInvalid(f"the {what} is too long to be one", hint="Is it the right file?")
    return text


def look_period(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.1 <= (value := float(text)) <= 86_400:
            return value
    raise argparse.ArgumentTypeError("seconds between 0.1 and 86400 are due")


def entry_count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (value := int(text)) <= 1_000_000:
            return value
    raise argparse.ArgumentTypeError("a number between 0 and 1000000 is due")
