"""Tables, pairs and JSON on standard output. Every text that comes through here is escaped, whoever wrote it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from protocol.text import csv_line, escape

NARROW_COLUMNS = 80
PIPE_COLUMNS = 200
"""Of a table where there is no terminal: wide enough that a file or a pager gets whole lines."""


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table without lines, as wide as the terminal. An empty one prints its head alone."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, show_edge=False)
    for index, name in enumerate(head):
        table.add_column(name, overflow="fold", no_wrap=index == 0)
    for row in rows:
        # Text, not str: rich would read [markup] and :emoji: in what a stranger wrote.
        table.add_row(*(Text(escape(cell)) for cell in row))
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    Console(highlight=False, width=width, soft_wrap=False).print(table)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, a line each."""
    shown = [(name, escape(value)) for name, value in pairs]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}".rstrip())


def print_heading(text: str) -> None:
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"\n\x1b[1m{escape(text)}\x1b[0m" if bold else f"\n{escape(text)}")


def print_json(value: Any) -> None:
    """One JSON value. ASCII alone, so that no text in it can speak to a terminal."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


async def print_json_array(records: AsyncIterable[Mapping[str, Any]]) -> None:
    """One array, printed as it comes: what is of a hundred thousand devices is never in memory at once."""
    separator = "[\n"
    async for record in records:
        sys.stdout.write(separator + json.dumps(record, ensure_ascii=True))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


async def print_csv(columns: Sequence[str], records: AsyncIterable[Mapping[str, Any]]) -> None:
    sys.stdout.write(csv_line(columns))
    async for record in records:
        sys.stdout.write(csv_line(record[column] for column in columns))


def when(at: float | None) -> str:
    """An instant (Unix seconds) in local time, to the minute; "-" for none."""
    if not at:
        return "-"
    try:
        return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return "a date out of bounds"


def ago(at: float | None, now: float) -> str:
    """How long since: "3 min", "5 h", "12 d"; "-" for none, "now" for less than a minute or a clock ahead."""
    if not at:
        return "-"
    seconds = now - at
    for unit, unit_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * unit_s or (unit == "min" and seconds >= unit_s):
            return f"{seconds // unit_s:.0f} {unit}"
    return "now"


def size(count: int | None) -> str:
    """Bytes for people, in binary units: "7.6 GiB"; "-" for none."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable: TiB takes the rest")
