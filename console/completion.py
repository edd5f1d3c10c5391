"""What a shell may put in the place of the word that is being typed. Offline and fast: no click, relay or asyncssh.

    auxilio completion --words -- WORD...      the words after `auxilio`, the last being typed: a candidate a line

The commands and their options are kept in completion.json (made by command_table.py, anew when the program changed).
Devices are those that this console remembers. Whatever these files hold, a candidate is plain: a shell may get it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from console.home import Home
from console.known_devices import KnownDevices
from console.remembered_names import RememberedNames
from protocol.codec import Record
from protocol.errors import AuxilioError

FILE = "completion.json"

DEVICE, NAME, ANYTHING = "device", "name", ""
"""What an argument is: a device; a name that is remembered; what we know nothing about. Else its words, with |."""

MAX_CANDIDATES = 500
"""More is for `auxilio devices`."""

_PLAIN = re.compile(r"-{0,2}[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


class CommandWords(Record, frozen=True, kw_only=True):
    """One command or group. commands: of a group.  flags: options without a value.  values: those with one, and what
    it is.  arguments: what each is, the last for all that follow where `repeated`.
    """

    commands: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    values: dict[str, str] = {}
    arguments: tuple[str, ...] = ()
    repeated: bool = False


class _Kept(Record, frozen=True, kw_only=True):
    stamp: str
    table: dict[str, CommandWords]


def main(home: Home, words: Sequence[str]) -> int:
    """Print candidates. Says nothing else, whatever is wrong: there is a line being typed."""
    for candidate in candidates(home, load_table(home), list(words) or [""]):
        sys.stdout.write(f"{candidate}\n")
    return 0


def load_table(home: Home) -> dict[str, CommandWords]:
    """By path: "" for `auxilio` itself, "device approve"."""
    stamp = _stamp()
    try:
        kept = home.read_record(FILE, _Kept)
    except AuxilioError:
        kept = None
    if kept is not None and kept.stamp == stamp:
        return kept.table
    from console.command_table import build_table

    table = build_table()
    if home.path.is_dir():
        try:
            home.write_record(FILE, _Kept(stamp=stamp, table=table))
        except AuxilioError:
            pass  # it is made again the next time
    return table


def _stamp() -> str:
    """Changes with the program's commands: of their modules, or of the one file that a packaged console is."""
    folder = Path(__file__).with_name("commands")
    files = [Path(sys.executable)]
    if folder.is_dir():
        files += [Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(".py")]
        files += [Path(__file__), folder.with_name("cli.py")]
    return f"{len(files)}-{max(file.stat().st_mtime_ns for file in files)}"


def candidates(home: Home, table: dict[str, CommandWords], words: list[str]) -> list[str]:
    """For the last of `words`, those after `auxilio` and its --home. Sorted, plain, at most MAX_CANDIDATES."""
    *before, word = words
    kind = _kind(table, before, word)
    if kind is None:
        return []
    if kind in (DEVICE, NAME):
        word = word.lower()
        found = _devices(home, word, names_only=kind == NAME)
    else:
        found = kind.split("|")
    begun = {text for text in found if text.startswith(word) and text.startswith("-") == word.startswith("-")}
    return sorted(text for text in begun if _PLAIN.match(text))[:MAX_CANDIDATES]


def _kind(table: dict[str, CommandWords], before: list[str], word: str) -> str | None:
    """What the word after `before` is; None where nobody knows."""
    path, position, value, options = "", 0, None, True
    for typed in before:
        entry = table.get(path, CommandWords())
        if value is not None:
            value = None
        elif options and typed == "--":
            options = False
        elif options and typed.startswith("-"):
            value = entry.values.get(typed)
        elif entry.commands:
            path = f"{path} {typed}".strip()
        else:
            position += 1
    entry = table.get(path, CommandWords())
    if value is not None:
        return value
    if options and word.startswith("-"):
        return "|".join((*entry.flags, *entry.values))
    if entry.commands:
        return "|".join(entry.commands)
    if position >= len(entry.arguments) and not (entry.repeated and entry.arguments):
        return None
    return entry.arguments[min(position, len(entry.arguments) - 1)]


def _devices(home: Home, word: str, *, names_only: bool) -> Iterable[str]:
    """Names first of all: ids are many, and are offered once one is begun."""
    found: list[str] = []
    try:
        found += RememberedNames(home).all()
        if not names_only:
            known = KnownDevices(home)
            found += known.hostnames(word)
            found += known.with_prefix(word) if word or not found else ()
    except AuxilioError:
        pass  # the command that is being typed will say it
    return found
