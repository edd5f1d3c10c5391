"""Values out of JSON that programs print: what is not there, of another type or out of bounds, is None or empty."""

from __future__ import annotations

from typing import Any

import msgspec

MAX_NUMBER = 2**63 - 1
MAX_TEXT_CHARS = 200
MAX_ITEMS = 4096


def read_json(data: bytes) -> Any:
    """The value; None where it is no JSON, or too deep."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def at(value: Any, *path: str) -> Any:
    """What stands at the end of these names; None where one of them is not there."""
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def number_at(value: Any, *path: str, most: int = MAX_NUMBER) -> int | None:
    """A whole number from 0 to `most`; also one that is written as text, as several programs do."""
    found = at(value, *path)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 19:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if 0 <= found <= most else None


def signed_at(value: Any, *path: str, least: int, most: int) -> int | None:
    found = at(value, *path)
    if isinstance(found, bool) or not isinstance(found, int):
        return None
    return found if least <= found <= most else None


def flag_at(value: Any, *path: str) -> bool | None:
    found = at(value, *path)
    return found if isinstance(found, bool) else None


def text_at(value: Any, *path: str, limit: int = MAX_TEXT_CHARS) -> str:
    """On one line, at most `limit` characters, and nothing that UTF-8 cannot carry."""
    found = at(value, *path)
    if not isinstance(found, str):
        return ""
    return " ".join(found.split())[:limit].encode("utf-8", "replace").decode("utf-8")


def items_at(value: Any, *path: str) -> list[Any]:
    found = at(value, *path)
    return found[:MAX_ITEMS] if isinstance(found, list) else []
