"""Options that several commands share, each with its one meaning."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from console.main import MAX_SAID_CHARS
from console.passphrase import VARIABLE, Passphrases
from protocol.durations import parse_duration
from protocol.errors import BadMessage, UsageInvalid
from protocol.text import escape


class Duration(click.ParamType[int]):
    """Seconds, from 7d, 12h, 90m, 45s."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return value if isinstance(value, int) else parse_duration(value)


DURATION = Duration()


class Date(click.ParamType[int]):
    """Unix seconds, from `2026-11-20`, which is the end of that day, or `2026-11-20 09:30`; in local time unless it
    says another."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        try:
            instant = datetime.fromisoformat(text)
            at = instant.replace(hour=23, minute=59, second=59) if len(text) <= 10 else instant
            return max(0, int(at.timestamp()))
        except (ValueError, OverflowError, OSError) as exc:
            hint = "For example: 2026-11-20, or '2026-11-20 09:30'."
            raise UsageInvalid(f"not a date: {escape(text, limit=40)!r}", hint=hint) from exc


DATE = Date()

as_json = click.option("--json", "as_json", is_flag=True, help="Records as JSON on standard output.")

passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"A file whose first line is the keys' passphrase (or set {VARIABLE}).",
)

assume_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


@contextmanager
def usage_errors() -> Iterator[None]:
    """What a parser of the protocol says of a person's own argument is a usage error, not a peer's fault."""
    try:
        yield
    except BadMessage as exc:
        raise UsageInvalid(exc.message, hint=exc.hint or "The command's --help has an example.") from exc


def passphrases(file: Path | None) -> Passphrases:
    return Passphrases(os.environ, file=file)


def say(text: str) -> None:
    """A warning or a note: on standard error, so that standard output stays what was asked for."""
    print(f"auxilio: {escape(text, limit=MAX_SAID_CHARS)}", file=sys.stderr)


def confirm(question: str, yes: bool) -> None:
    """Go on only after a person's yes. Raises UsageInvalid (confirmation_needed) where none can be asked."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageInvalid(
            f"this needs a yes: {question}", code="confirmation_needed", hint="Repeat it with --yes once you are sure."
        )
    click.confirm(question, abort=True, err=True)
