"""Asking one source: its answer, or "not available" with the reason; never an exception that stops the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
D = TypeVar("D")

MAX_REASON_CHARS = 200
MAX_FILE_BYTES = 1024 * 1024
"""Of a file under /proc, /sys or /etc that is read whole."""


class Missing(Exception):
    """The source has no answer, for a reason that a technician can use."""


class Asked:
    """Collects the reasons of a section's silent sources."""

    def __init__(self) -> None:
        self.unavailable: dict[str, str] = {}

    def ask(self, source: str, question: Callable[[], T], default: D) -> T | D:
        """Return the answer of `question`, or `default` with its reason noted under `source`."""
        try:
            return question()
        except Missing as exc:
            reason = str(exc)
        except FileNotFoundError as exc:
            reason = f"there is no {exc.filename}"
        except PermissionError as exc:
            reason = f"no permission for {exc.filename}"
        except Exception as exc:  # a source may fail in any way; the others go on
            reason = f"{type(exc).__name__}: {exc}"
        self.unavailable[source] = reason[:MAX_REASON_CHARS]
        return default


def read_text(path: Path | str) -> str:
    """A small file's text, cut at MAX_FILE_BYTES, undecodable bytes replaced."""
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")


def read_line(path: Path | str) -> str:
    """A one-line file of /sys, stripped; "" where it is not there or not readable."""
    try:
        return read_text(path).strip()
    except OSError:
        return ""
