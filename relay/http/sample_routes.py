"""What a device measured, as charts and other programs want it: JSON, or a table as CSV.

Fine for the last two days, coarser before: relay/rollup.py says how. Whoever asks names instants and, if they must, the
step; without it, it is the finest that reaches back so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from aiohttp import web
from sqlalchemy import Connection

from protocol.api import SampleBucket, SampleSeries
from protocol.errors import BadMessage
from protocol.ids import DeviceId
from protocol.samples import METRICS, read_batch
from protocol.statement import Signed
from relay import rollup
from relay.http.call import Call, Route
from relay.http.device_routes import visible_row
from relay.http.serving import SECURITY_HEADERS
from relay.rollup import Level
from relay.store import samples

DEFAULT_SINCE_S = 86_400
MAX_BATCHES_BYTES = 4 * 1024 * 1024
"""Of one answer: six times two honest days; a console takes 8 MiB."""

MAX_BUCKETS = 20_000
"""Of one answer: two years of hours are 17,520."""

_STEPS: Mapping[int, Level | None] = {0: None, **{level.step_s: level for level in rollup.LEVELS}}


async def show_samples(call: Call) -> SampleSeries:
    device, now = call.device(), int(call.services.clock.now())
    since_at, until_at = _asked(call, now)
    level = _level(call, since_at, now)
    # As a search: two years are a megabyte to put together.
    job = _job(call, device, level, since_at, until_at)
    return await call.services.store.search(call.login.organisation, job)


async def show_samples_csv(call: Call) -> web.Response:
    series = await show_samples(call)
    head = {**SECURITY_HEADERS, "Content-Disposition": "attachment"}
    return web.Response(text="".join(_lines(series)), content_type="text/csv", charset="utf-8", headers=head)


def _asked(call: Call, now: int) -> tuple[int, int]:
    """Raises BadMessage."""
    until_at = call.query_number("until", now)
    since_at = call.query_number("since", max(0, until_at - DEFAULT_SINCE_S))
    if since_at > until_at:
        raise BadMessage("`since` is after `until`")
    return since_at, until_at


def _level(call: Call, since_at: int, now: int) -> Level | None:
    """Raises BadMessage."""
    if not call.query("step"):
        return rollup.level_for(since_at, now)
    step = call.query_number("step", 0)
    if step not in _STEPS:
        raise BadMessage(f"a step is one of {', '.join(str(known) for known in _STEPS)} seconds")
    return _STEPS[step]


def _job(
    call: Call, device: DeviceId, level: Level | None, since_at: int, until_at: int
) -> Callable[[Connection], SampleSeries]:
    organisation = call.login.organisation

    def job(connection: Connection) -> SampleSeries:
        visible_row(connection, call, device)
        if level is None:
            found = samples.read_batches(connection, organisation, device, since_at, until_at, MAX_BATCHES_BYTES)
            return SampleSeries(step_s=0, since_at=since_at, until_at=until_at, batches=found.signed, more=found.more)
        buckets = list(samples.read_buckets(connection, organisation, device, level, since_at, until_at))
        return SampleSeries(
            step_s=level.step_s,
            since_at=since_at,
            until_at=until_at,
            buckets=tuple(_bucket(at, cells) for at, cells in buckets[-MAX_BUCKETS:]),
            more=len(buckets) > MAX_BUCKETS,
        )

    return job


def _bucket(at: int, cells: Mapping[str, rollup.Cell]) -> SampleBucket:
    values = {name: (cell.count, round(cell.mean, 3), cell.least, cell.most) for name, cell in cells.items()}
    return SampleBucket(at=at, values=values)


def _lines(series: SampleSeries) -> Iterator[str]:
    """at: Unix seconds. Of buckets, the mean with the least and the most beside it. Numbers: nothing to escape."""
    if series.step_s == 0:
        yield _line(("at", *METRICS))
        for signed in series.batches:
            yield from _rows(signed, series)
        return
    kinds = ("", "_least", "_most")
    yield _line(("at", *(f"{name}{kind}" for name in METRICS for kind in kinds)))
    for bucket in series.buckets:
        cells = (bucket.values[name][1:] if name in bucket.values else ("",) * 3 for name in METRICS)
        yield _line((bucket.at, *(value for cell in cells for value in cell)))


def _rows(signed: Signed, series: SampleSeries) -> Iterator[str]:
    for sample in read_batch(signed.payload).samples():  # verified when it came
        if series.since_at <= sample.at <= series.until_at:
            yield _line((sample.at, *(sample.values.get(name, "") for name in METRICS)))


def _line(cells: tuple[object, ...]) -> str:
    return ",".join(str(cell) for cell in cells) + "\n"


_QUERY = {
    "since": "Unix seconds; a day before `until` where it is missing",
    "until": "Unix seconds; now where it is missing",
    "step": "0 (signed batches, of the last two days), 300 or 3600; the finest that reaches back so far",
}

ROUTES = (
    Route(
        method="GET",
        path="/v1/devices/{device}/samples",
        who="technician",
        handler=show_samples,
        answer=SampleSeries,
        summary="What a device measured: load, memory, disk, signal, latency, loss",
        query=_QUERY,
    ),
    Route(
        method="GET",
        path="/v1/devices/{device}/samples.csv",
        who="technician",
        handler=show_samples_csv,
        summary="The same as CSV: a line for each sample or bucket, and a head",
        query=_QUERY,
    ),
)
