"""What Linux says of memory while it runs: pressure."""

from __future__ import annotations

import re

import msgspec

_LINE = re.compile(r"(some|full) avg10=[0-9.]+ avg60=[0-9.]+ avg300=([0-9]{1,3}(?:\.[0-9]{1,4})?) ")


class Pressure(msgspec.Struct, frozen=True):
    """Percent of the last five minutes. some: at least one program waited for memory; full: all that wanted to run."""

    some: float | None = None
    full: float | None = None


def parse_pressure(text: str) -> Pressure:
    """/proc/pressure/memory. Source: Linux, Documentation/accounting/psi.rst."""
    found = {kind: float(percent) for kind, percent in _LINE.findall(text)}
    return Pressure(**{kind: percent for kind, percent in found.items() if percent <= 100})
