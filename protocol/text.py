"""Text from strangers, made fit to be shown: hostnames, reports, messages of a relay, output of a device's tools.

A terminal obeys what it is sent: escape sequences move the cursor and rename the window, bidirectional controls swap
what a person reads, zero-width characters hide a difference. None of them survives `escape`; every letter of every
script does. This says nothing about HTML, where other characters are dangerous.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

LINE_LIMIT = 400
"""Characters of a one-line text: five lines of a terminal. A longer hostname or message is an attack or a bug."""

MAX_COMBINING = 4
"""Marks on one letter. Vietnamese needs two, Hebrew with cantillation four; a pile of fifty overwrites other lines."""

_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Printable by their category, yet drawn as nothing: fillers, joiners and the empty braille pattern."""


_FORMULA = re.compile(r"(^|[;,|\t])(\s*[=+\-@])")


def escape(text: str, *, multiline: bool = False, limit: int = LINE_LIMIT) -> str:
    """Return `text` with every character that is no plain printable one spelled out (`\\x1b`, `\\u202e`).

    multiline: line feeds and tabs stay.  limit: characters of the result, at least 1; what is cut off is marked by
    an ellipsis. Spaces of other widths become plain spaces. The result can always be encoded as UTF-8, and a text
    without suspects comes back unchanged. Never raises.
    """
    cut = len(text) > limit
    # An escape only grows the text, so characters past the limit cannot come back into it.
    head = text[:limit]
    if not (head.isascii() and head.isprintable()):
        marks = 0
        shown: list[str] = []
        for character in head:
            marks = marks + 1 if unicodedata.combining(character) else 0
            shown.append(_spelled(character) if marks > MAX_COMBINING else _shown(character, multiline))
        head = "".join(shown)
    if cut or len(head) > limit:
        return head[: max(limit - 1, 0)] + "…"
    return head


def csv_line(cells: Iterable[object]) -> str:
    """A line of CSV (RFC 4180, but for the line's end), escaped; None is empty.

    A spreadsheet runs a text that begins like a formula: such a one gets an apostrophe before it, and so does what
    would begin a cell where lists are separated by another sign than the comma, as in Spanish and German settings.
    """
    return ",".join(_csv_cell(cell) for cell in cells) + "\n"


def _csv_cell(cell: object) -> str:
    text = "" if cell is None else escape(str(cell))
    if not isinstance(cell, int | float):
        text = _FORMULA.sub(r"\1'\2", text)
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"') else text


def _shown(character: str, multiline: bool) -> str:
    if multiline and character in "\n\t":
        return character
    if character.isprintable():
        return _spelled(character) if character in _INVISIBLE else character
    if unicodedata.category(character) == "Zs":
        return " "
    return _spelled(character)


def _spelled(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if named is not None:
        return named
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
