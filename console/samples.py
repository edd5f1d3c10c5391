"""What a device measured, fetched and judged: its own signed batches verified, roll-ups taken as the relay's word.

A relay can withhold samples, as it can withhold anything; it cannot make up raw ones.
"""

from __future__ import annotations

import msgspec

from console.charts import Point
from console.fleet import JudgedDevice
from console.signed_in import Desk
from protocol.api import SampleBucket, SampleSeries
from protocol.errors import AuxilioError
from protocol.samples import METRICS, Sample, open_samples
from protocol.statement import Signed


class Measured(msgspec.Struct, frozen=True):
    """step_s: of buckets; 0: samples as the device signed them.  points: by metric, ascending; only those there are.

    samples: where they are the device's own.  faults: batches that do not verify, and why the first does not.
    """

    since_at: int
    until_at: int
    step_s: int
    points: dict[str, list[Point]]
    samples: tuple[Sample, ...] = ()
    buckets: tuple[SampleBucket, ...] = ()
    faults: int = 0
    first_fault: str = ""
    more: bool = False

    @property
    def is_signed(self) -> bool:
        return self.step_s == 0


async def fetch_samples(desk: Desk, judged: JudgedDevice, since_at: int, until_at: int) -> Measured:
    """Raises what the relay client does."""
    told = await desk.relay.samples(judged.id, since_at, until_at)
    if told.step_s > 0:
        return _rolled_up(told, since_at, until_at)
    return _signed(told, desk, judged, since_at, until_at)


def _signed(told: SampleSeries, desk: Desk, judged: JudgedDevice, since_at: int, until_at: int) -> Measured:
    batches: dict[int, tuple[Sample, ...]] = {}
    faults: list[str] = []
    for signed in told.batches:
        try:
            number, samples = _opened(signed, desk, judged)
        except AuxilioError as exc:
            faults.append(exc.message)
        else:
            batches[number] = samples  # the same batch twice is one
    kept = sorted(
        (sample for samples in batches.values() for sample in samples if since_at <= sample.at <= until_at),
        key=lambda sample: sample.at,
    )
    points: dict[str, list[Point]] = {}
    for sample in kept:
        for name, value in sample.values.items():
            points.setdefault(name, []).append(Point(sample.at, value, value, value))
    return Measured(
        since_at=since_at,
        until_at=until_at,
        step_s=0,
        points={name: points[name] for name in METRICS if name in points},
        samples=tuple(kept),
        faults=len(faults),
        first_fault=faults[0] if faults else "",
        more=told.more,
    )


def _opened(signed: Signed, desk: Desk, judged: JudgedDevice) -> tuple[int, tuple[Sample, ...]]:
    batch = open_samples(signed, organisation=desk.trust.organisation, device=judged.id, device_key=judged.device_key)
    return batch.number, tuple(batch.samples())


def _rolled_up(told: SampleSeries, since_at: int, until_at: int) -> Measured:
    """Of what cannot be, nothing is shown: a relay may say anything."""
    buckets = sorted((b for b in told.buckets if since_at <= b.at <= until_at), key=lambda bucket: bucket.at)
    points: dict[str, list[Point]] = {}
    credible = []
    for bucket in buckets:
        values = {name: bucket.values[name] for name in METRICS if _can_be(name, bucket)}
        credible.append(SampleBucket(at=bucket.at, values=values))
        for name, (_, mean, least, most) in values.items():
            points.setdefault(name, []).append(Point(bucket.at, mean, least, most))
    return Measured(
        since_at=since_at,
        until_at=until_at,
        step_s=told.step_s,
        points={name: points[name] for name in METRICS if name in points},
        buckets=tuple(credible),
        more=told.more,
    )


def _can_be(name: str, bucket: SampleBucket) -> bool:
    if name not in bucket.values:
        return False
    count, mean, least, most = bucket.values[name]
    metric, rounding = METRICS[name], 0.001
    return count > 0 and metric.least <= least <= mean + rounding and mean - rounding <= most <= metric.most
