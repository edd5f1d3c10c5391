"""Quantities as people read them."""

from __future__ import annotations

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(count: float) -> str:
    """Bytes as "7.8 GiB": three significant digits at most, binary units."""
    unit = 0
    value = float(count)
    while abs(value) >= 1023.5 and unit < len(_BINARY) - 1:
        value /= 1024
        unit += 1
    digits = 0 if unit == 0 or abs(value) >= 99.95 else 1
    text = f"{value:.{digits}f}".removesuffix(".0")
    return f"{text} {_BINARY[unit]}"


def duration_text(seconds: float) -> str:
    """Seconds as "3 d 4 h", "2 h 5 min", "12 s": the two largest units."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)
