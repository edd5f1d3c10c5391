"""A figure of ours beside a peer's: the object in var/bench.json, and the line of the table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Side = Literal["ratio", "ours"]


@dataclass(frozen=True)
class Aim:
    """What a row should reach. of: the ratio to the peer, or our own figure."""

    of: Side
    sign: Literal["<=", ">="]
    bound: float

    def __str__(self) -> str:
        return f"{self.of} {self.sign} {self.bound:g}"

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.sign == "<=" else value >= self.bound


def ratio_at_most(bound: float) -> Aim:
    return Aim("ratio", "<=", bound)


def ratio_at_least(bound: float) -> Aim:
    return Aim("ratio", ">=", bound)


def ours_at_most(bound: float) -> Aim:
    return Aim("ours", "<=", bound)


@dataclass
class Row:
    """name: unique.  ours, peer: None where it could not be measured; `note` then says why.

    beside: who the peer is.  more: further keys of the JSON object, such as every single measurement.
    """

    name: str
    unit: str
    ours: float | None
    peer: float | None
    aim: Aim | None = None
    note: str = ""
    beside: str = "OpenSSH"
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's, of the rounded figures that are printed, so that anybody can check it."""
        if self.ours is None or not self.peer:
            return None
        return significant(significant(self.ours) / significant(self.peer), 3)

    @property
    def met(self) -> bool | None:
        """None: there is no aim, or nothing to hold against it."""
        value = self.ours if self.aim is not None and self.aim.of == "ours" else self.ratio
        return None if self.aim is None or value is None else self.aim.is_met(value)

    def record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": None if self.ours is None else significant(self.ours),
            "peer": None if self.peer is None else significant(self.peer),
            "ratio": self.ratio,
            "aim": None if self.aim is None else str(self.aim),
            "met": self.met,
            "beside": self.beside,
            **({"note": self.note} if self.note else {}),
            **self.more,
        }


def significant(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def pair(
    name: str, unit: str, ours: Sequence[float], peer: Sequence[float], aim: Aim | None = None, **more: Any
) -> Row:
    """A row of two series measured in turn: their medians. Every measurement is in the JSON object.

    more: note, beside; anything else is a further key.
    """
    known = {key: more.pop(key) for key in ("note", "beside") if key in more}
    series = {"ours_all": [significant(value) for value in ours], "peer_all": [significant(value) for value in peer]}
    return Row(name, unit, median(ours), median(peer), aim, more={**series, **more}, **known)


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank: a value that was measured, none in between."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def table(rows: Sequence[Row]) -> str:
    """For people: figures aligned by column, notes below."""
    head = ("", "unit", "ours", "peer", "ratio", "aim", "met")
    lines = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = [_line(line, widths) for line in lines]
    text += [f"  {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    met = {True: "yes", False: "no", None: ""}[row.met]
    figures = (_figure(row.ours), _figure(row.peer), _figure(row.ratio, 2))
    return (row.name, row.unit, *figures, "" if row.aim is None else str(row.aim), met)


def _figure(value: float | None, digits: int = 3) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10**digits else f"{value:#.{digits}g}".removesuffix(".")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    is_text = (0, 1, 5, 6)
    padded = (c.ljust(w) if n in is_text else c.rjust(w) for n, (c, w) in enumerate(zip(cells, widths, strict=True)))
    return "  ".join(padded).rstrip()
