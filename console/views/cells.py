"""What a value looks like in a view."""

from __future__ import annotations


def filled(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs if value]


def number(value: int | None) -> str:
    return "-" if value is None else str(value)


def percent_of(part: int | None, whole: int | None) -> str:
    return f" ({100 * part // whole} %)" if part is not None and whole else ""
