"""What a device measured, as charts, CSV or JSON."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from functools import partial
from typing import Any

import msgspec

from console.charts import BLOCKS, LABEL_CHARS, PLAIN, Glyphs, Point, Span, chart, legend
from console.render import print_heading, print_table, size, when
from console.samples import Measured
from console.views.connectivity import outage_row
from protocol.samples import METRICS
from protocol.sections.connectivity import Outage
from protocol.units import duration_text

PIPE_COLUMNS = 100
LEAST_COLUMNS, MOST_COLUMNS = 20, 240
"""Of a chart."""

SCALES: dict[str, tuple[float | None, float | None]] = {"%": (0.0, 100.0), "dBm": (-120.0, -50.0)}
"""What a chart reaches at least, by unit; where there is none: from nothing to the most there was."""


def samples_view(measured: Measured, outages: tuple[Outage, ...]) -> None:
    """outages: of the device's report, those that fall into the time asked for."""
    glyphs = _glyphs()
    span = Span(measured.since_at, measured.until_at, _width())
    lost = [(o.from_at, o.until_at if o.until_at is not None else measured.until_at) for o in outages]
    for name, points in measured.points.items():
        shown = partial(_shown, name)
        print_heading(legend(name, points, shown))
        least, most = _scale(name, points)
        print("\n".join(chart(points, span, least=least, most=most, shown=shown, lost=lost, glyphs=glyphs)))
    if not measured.points:
        print("nothing was measured in this time")
        return
    print(_times(span))
    if outages:
        print(f"{'':>{LABEL_CHARS}}  {glyphs.lost}: without a relay")
        print_table(("offline", "for", "why", "rung"), [outage_row(outage) for outage in outages])


def source_text(measured: Measured) -> str:
    """Whose word it is."""
    if measured.is_signed:
        return "measured and signed by the device"
    return f"means of {duration_text(measured.step_s)}, rolled up by the relay: its word, not signed by the device"


def _glyphs() -> Glyphs:
    try:
        "".join(msgspec.structs.astuple(BLOCKS)).encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return PLAIN
    return BLOCKS


def _width() -> int:
    """Of the charts, their scale left out."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_COLUMNS
    return min(max(columns - LABEL_CHARS - 3, LEAST_COLUMNS), MOST_COLUMNS)


def _scale(name: str, points: list[Point]) -> tuple[float, float]:
    least, most = min(point.least for point in points), max(point.most for point in points)
    from_, to = SCALES.get(METRICS[name].unit, (0.0, None))
    return min(least, from_ if from_ is not None else least), max(most, to if to is not None else 0.0)


def _shown(name: str, value: float) -> str:
    unit = METRICS[name].unit
    if unit == "B":
        return size(round(value))
    return f"{value:.0f} {unit}" if abs(value) >= 100 or value == int(value) else f"{value:.1f} {unit}"


def _times(span: Span) -> str:
    """Below the charts: when they begin and end."""
    first, last = when(span.since_at), when(span.until_at)
    gap = max(span.width - len(first) - len(last), 1)
    return f"{'':>{LABEL_CHARS}}  {first}{' ' * gap}{last}"


def print_samples_csv(measured: Measured) -> None:
    """As the relay's own CSV: at in Unix seconds; of buckets, the mean with the least and the most beside it."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if measured.is_signed:
        writer.writerow(("at", *METRICS))
        for sample in measured.samples:
            writer.writerow((sample.at, *(sample.values.get(name, "") for name in METRICS)))
        return
    writer.writerow(("at", *(f"{name}{kind}" for name in METRICS for kind in ("", "_least", "_most"))))
    for bucket in measured.buckets:
        cells = (bucket.values[name][1:] if name in bucket.values else ("",) * 3 for name in METRICS)
        writer.writerow((bucket.at, *(value for cell in cells for value in cell)))


def samples_record(measured: Measured, outages: tuple[Outage, ...]) -> dict[str, Any]:
    """For --json. signed: whether the samples are the device's own word."""
    samples: list[dict[str, Any]]
    if measured.is_signed:
        samples = [{"at": sample.at, **sample.values} for sample in measured.samples]
    else:
        kinds = ("count", "mean", "least", "most")
        samples = [
            {"at": b.at, **{name: dict(zip(kinds, cell, strict=True)) for name, cell in b.values.items()}}
            for b in measured.buckets
        ]
    return {
        "since_at": measured.since_at,
        "until_at": measured.until_at,
        "step_s": measured.step_s,
        "signed": measured.is_signed,
        "unverified_batches": measured.faults,
        "truncated": measured.more,
        "units": {name: METRICS[name].unit for name in measured.points},
        "samples": samples,
        "outages": json.loads(msgspec.json.encode(outages)),
    }
