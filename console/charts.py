"""Charts of what moved, for a terminal: in blocks an eighth of a line high, without colour, as wide as there is room.

Pure.

    memory_percent: 41.2 % to 63.0 %, mean 50.4 %, last 48.1 %
       100 % ┤
             │        ▃▅▆▇█▇▆▅▄▃▂
         0 % ┤▅▅▅▆▆▆▇▇██████████      ▅▅▅▅▅▅
             ╰────────────────────xxxx──────

A column without a block is a time of which nothing is known; what was measured as nothing at all is an eighth high.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import msgspec

LEAST_GAP_S = 360.0
"""Longer than between two samples on battery: less is no gap."""

GAP_SPACINGS = 3.0
"""Or so many times the usual time between two: what is measured once an hour has no gap each hour."""

EIGHTHS = 8
HEIGHT = 4
LABEL_CHARS = 10


class Point(msgspec.Struct, frozen=True):
    """at: Unix seconds.  least, most: of what the mean is of; the same where it is one sample."""

    at: float
    mean: float
    least: float
    most: float


class Glyphs(msgspec.Struct, frozen=True):
    """levels: from nothing to a full line, in eighths.  line, lost: of the axis.  tick, side, corner: left of it."""

    levels: str
    line: str
    lost: str
    tick: str
    side: str
    corner: str


BLOCKS = Glyphs(" ▁▂▃▄▅▆▇█", "─", "x", "┤", "│", "╰")
PLAIN = Glyphs(" ...:::##", "-", "x", "+", "|", "+")
"""For a terminal of few letters."""


class Span(msgspec.Struct, frozen=True):
    """A time and how many columns show it. Unix seconds."""

    since_at: float
    until_at: float
    width: int

    @property
    def column_s(self) -> float:
        return max(self.until_at - self.since_at, 1.0) / self.width

    def column(self, at: float) -> int:
        """The column of an instant; outside of the time it is none of them."""
        return int((at - self.since_at) // self.column_s) if at < self.until_at else self.width - (at == self.until_at)


def gap_s(points: Sequence[Point]) -> float:
    """How far apart two points must be for nothing to be known of what is between them."""
    spacings = sorted(later.at - earlier.at for earlier, later in pairwise(points))
    usual = spacings[len(spacings) // 2] if spacings else 0.0
    return max(LEAST_GAP_S, GAP_SPACINGS * usual)


def columns(points: Sequence[Point], span: Span) -> list[float | None]:
    """The mean of each column; None where nothing is known. points: ascending."""
    found: list[list[float]] = [[] for _ in range(span.width)]
    longest = gap_s(points)
    for index, point in enumerate(points):
        first = span.column(point.at)
        until = points[index + 1].at if index + 1 < len(points) else point.at
        last = span.column(until) - 1 if until - point.at <= longest else first
        if 0 <= first < span.width:
            found[first].append(point.mean)
        for column in range(max(first + 1, 0), min(last, span.width - 1) + 1):
            found[column].append(point.mean)
    return [sum(values) / len(values) if values else None for values in found]


def rows(
    values: Sequence[float | None], least: float, most: float, *, height: int = HEIGHT, glyphs: Glyphs = BLOCKS
) -> list[str]:
    """The chart's lines, the highest first."""
    levels = [_level(value, least, most, height) for value in values]
    return [
        "".join(glyphs.levels[min(max(level - EIGHTHS * row, 0), EIGHTHS)] for level in levels)
        for row in reversed(range(height))
    ]


def _level(value: float | None, least: float, most: float, height: int) -> int:
    """In eighths of a line; 0: nothing is known, and at least 1 where something is."""
    if value is None:
        return 0
    share = (value - least) / (most - least) if most > least else 0.0
    return max(1, round(min(max(share, 0.0), 1.0) * height * EIGHTHS))


def axis(lost: Iterable[tuple[float, float]], span: Span, glyphs: Glyphs = BLOCKS) -> str:
    """The line below a chart. lost: times without a relay, from and until, Unix seconds."""
    marks = [glyphs.line] * span.width
    for from_at, until_at in lost:
        first, last = span.column(max(from_at, span.since_at)), span.column(min(until_at, span.until_at))
        if until_at >= span.since_at and from_at <= span.until_at:
            for column in range(max(first, 0), min(last, span.width - 1) + 1):
                marks[column] = glyphs.lost
    return "".join(marks)


def chart(
    points: Sequence[Point],
    span: Span,
    *,
    least: float,
    most: float,
    shown: Callable[[float], str],
    lost: Sequence[tuple[float, float]] = (),
    glyphs: Glyphs = BLOCKS,
    height: int = HEIGHT,
) -> list[str]:
    """The lines of one chart with its scale. shown: a value with its unit, at most LABEL_CHARS."""
    lines = rows(columns(points, span), least, most, height=height, glyphs=glyphs)
    labels = {0: shown(most), height - 1: shown(least)}
    drawn = []
    for index, line in enumerate(lines):
        label = labels.get(index, "")[:LABEL_CHARS]
        drawn.append(f"{label:>{LABEL_CHARS}} {glyphs.tick if label else glyphs.side}{line}".rstrip())
    drawn.append(f"{'':>{LABEL_CHARS}} {glyphs.corner}{axis(lost, span, glyphs)}")
    return drawn


def legend(name: str, points: Sequence[Point], shown: Callable[[float], str]) -> str:
    """In numbers, what a chart shows. points: at least one."""
    mean = sum(point.mean for point in points) / len(points)
    least, most = min(point.least for point in points), max(point.most for point in points)
    return f"{name}: {shown(least)} to {shown(most)}, mean {shown(mean)}, last {shown(points[-1].mean)}"
