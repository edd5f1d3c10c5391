"""Samples: what moves all the time on a device, measured there at a steady pace and sent in signed batches.

A section changes when something happened; what a minute brings is a sample. A `SampleBatch` is signed by the device key
in report@auxilio, as a report is, and can be taken for none: each has fields without which the other is no batch, or no
report (`at` here, `sections` there). Its columns stand beside its instants:

    {"at": [1700000000, 1700000060], "values": {"cpu_percent": [3.5, 4.0], "signal_dbm": [null, -71.0]}, ...}

Batches are numbered from 1 and sent one after the other; a relay takes only a number above the last that it committed,
so that a batch whose acknowledgement was lost counts once, however often and however late it comes again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.codec import Record, decode
from protocol.errors import BadMessage, Refused
from protocol.ids import DeviceId, OrganisationId
from protocol.keys import parse_public_line
from protocol.sections.base import Instant
from protocol.statement import REPORT, Signed, open_by_key

MAX_BATCH_BYTES = 32 * 1024
"""Of the payload: in base64 and with its signature it fits in one message of the link (64 KiB)."""

MAX_SAMPLES = 256
"""In one batch: four hours, a sample a minute, in 15 KiB."""

MAX_SPAN_S = 24 * 3600
"""From the first sample of a batch to its last: how many roll-ups one message can touch is bounded by it."""

MAX_METRICS = 16
MAX_BATCH_NUMBER = 2**53 - 1


class Metric(msgspec.Struct, frozen=True):
    """unit: for people.  least, most: what a device can measure; anything else is no sample."""

    unit: str
    least: float
    most: float


METRICS: Mapping[str, Metric] = {
    "cpu_percent": Metric("%", 0.0, 100.0),
    "memory_percent": Metric("%", 0.0, 100.0),
    "disk_free_bytes": Metric("B", 0.0, 2.0**63),
    "signal_dbm": Metric("dBm", -200.0, 50.0),
    "latency_ms": Metric("ms", 0.0, 1e6),
    "loss_percent": Metric("%", 0.0, 100.0),
}
"""What this release measures, in the order in which people read it.

cpu_percent: busy, of all processors, since the sample before.  memory_percent: what is not available to programs.
disk_free_bytes: on the file system that the system lies on.  signal_dbm: of the modem.  latency_ms: to the relay and
back, the median since the sample before.  loss_percent: as the ladder measured it; between two climbs there is none.
"""

Column = tuple[Annotated[float, Meta(ge=-1e300, le=1e300)] | None, ...]


class Sample(msgspec.Struct, frozen=True):
    """at: Unix seconds.  values: by metric; what could not be measured is not in it."""

    at: int
    values: dict[str, float]


class SampleBatch(Record, frozen=True, kw_only=True):
    """at: ascending, no instant twice.  values: a column for each metric, as long as `at`; None: not measured."""

    organisation: OrganisationId
    device: DeviceId
    number: Annotated[int, Meta(ge=1, le=MAX_BATCH_NUMBER)]
    at: tuple[Instant, ...]
    values: dict[str, Column]

    def samples(self) -> Iterator[Sample]:
        """Those of the metrics that this release knows."""
        columns = [(name, column) for name, column in self.values.items() if name in METRICS]
        for row, at in enumerate(self.at):
            read = ((name, column[row]) for name, column in columns)
            yield Sample(at, {name: value for name, value in read if value is not None})


def columns_of(samples: list[Sample]) -> dict[str, Column]:
    """The columns of a batch; a metric that was never measured has none."""
    names = [name for name in METRICS if any(name in sample.values for sample in samples)]
    return {name: tuple(sample.values.get(name) for sample in samples) for name in names}


def batch_of(samples: list[Sample]) -> list[Sample]:
    """The longest beginning of `samples` that one batch takes: until there are enough, a day has passed, or a clock
    was set back."""
    taken: list[Sample] = []
    for sample in samples[:MAX_SAMPLES]:
        if taken and not taken[-1].at < sample.at <= taken[0].at + MAX_SPAN_S:
            break
        taken.append(sample)
    return taken


def open_samples(signed: Signed, *, organisation: OrganisationId, device: DeviceId, device_key: str) -> SampleBatch:
    """Return the batch that `device`, whose public line is `device_key`, signed.

    Raises Untrusted (a signature's), BadMessage, or Refused with code wrong_organisation or wrong_device.
    """
    keys = {parse_public_line(device_key).blob}
    opened = open_by_key(signed, namespace=REPORT, keys=keys, limit=MAX_BATCH_BYTES)
    batch = read_batch(opened.payload)
    if batch.organisation != organisation:
        raise Refused("the samples are for another organisation", code="wrong_organisation")
    if batch.device != device:
        raise Refused("the samples are another device's", code="wrong_device")
    return batch


def read_batch(payload: bytes) -> SampleBatch:
    """A batch from the bytes that were signed. Raises BadMessage."""
    batch = decode(payload, SampleBatch, limit=MAX_BATCH_BYTES)
    _check_instants(batch.at)
    if len(batch.values) > MAX_METRICS:
        raise BadMessage(f"a batch of {len(batch.values)} metrics, where {MAX_METRICS} are the most")
    for name, column in batch.values.items():
        _check_column(name, column, len(batch.at))
    return batch


def _check_instants(at: tuple[int, ...]) -> None:
    if not 0 < len(at) <= MAX_SAMPLES:
        raise BadMessage(f"a batch of {len(at)} samples, where 1 to {MAX_SAMPLES} are due")
    if at[-1] - at[0] > MAX_SPAN_S or any(later <= earlier for earlier, later in pairwise(at)):
        raise BadMessage("a batch's instants ascend, within a day")


def _check_column(name: str, column: Column, length: int) -> None:
    if not (0 < len(name) <= 40 and name.isascii() and name.replace("_", "").isalnum()):
        raise BadMessage("a metric's name is letters, digits and underscores")
    if len(column) != length:
        raise BadMessage("a metric has a value, or none, for each instant")
    metric = METRICS.get(name)
    if metric and not all(value is None or metric.least <= value <= metric.most for value in column):
        raise BadMessage(f"{name} is out of bounds")
