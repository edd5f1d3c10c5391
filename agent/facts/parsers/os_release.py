"""os-release(5): which operating system this is."""

from __future__ import annotations

import msgspec

MAX_VALUE_CHARS = 256
MAX_LIKE = 8


class OsRelease(msgspec.Struct, frozen=True):
    """id "debian", version "12", name for people, like: the systems it derives from, nearest first."""

    id: str = ""
    version: str = ""
    name: str = ""
    like: tuple[str, ...] = ()


def parse_os_release(text: str) -> OsRelease:
    """Shell-like assignments; quotes and their escapes are undone. The last assignment of a name counts."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name in ("ID", "VERSION_ID", "PRETTY_NAME", "NAME", "ID_LIKE"):
            values[name] = _unquote(value.strip())[:MAX_VALUE_CHARS]
    return OsRelease(
        id=values.get("ID", ""),
        version=values.get("VERSION_ID", ""),
        name=values.get("PRETTY_NAME", "") or values.get("NAME", ""),
        like=tuple(values.get("ID_LIKE", "").split()[:MAX_LIKE]),
    )


def _unquote(value: str) -> str:
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "\"'":
        return value
    quote, value = value[0], value[1:-1]
    if quote == "'":
        return value
    plain: list[str] = []
    escaped = False
    for char in value:
        if not escaped and char == "\\":
            escaped = True
            continue
        if escaped and char not in '\\"$`':
            plain.append("\\")  # a backslash before anything else stands for itself, as in the shell
        plain.append(char)
        escaped = False
    return "".join(plain)
