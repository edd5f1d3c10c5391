"""What a console believes of the samples that a relay hands out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from console.samples import Measured, fetch_samples
from console.views.samples import print_samples_csv, samples_record, samples_view, source_text
from protocol.api import SampleBucket, SampleSeries
from protocol.codec import encode
from protocol.ids import OrganisationId, device_id
from protocol.samples import Sample, SampleBatch, columns_of
from protocol.sections.connectivity import Outage
from protocol.signing import KeyRawSigner, KeySigner
from protocol.statement import REPORT, Signed, seal_statement
from tests.support.organisation import Organisation, new_key

ORGANISATION = OrganisationId("a" * 52)
KEY, STRANGER = new_key(), new_key()
DEVICE = device_id(KeyRawSigner(KEY).public)
FROM, UNTIL = 1_700_000_000, 1_700_003_600


def batch(number: int, at: int, *, key: Any = KEY, count: int = 5, cpu: float = 7.0) -> Signed:
    samples = [Sample(at + 60 * i, {"cpu_percent": cpu}) for i in range(count)]
    made = SampleBatch(
        organisation=ORGANISATION,
        device=DEVICE,
        number=number,
        at=tuple(sample.at for sample in samples),
        values=columns_of(samples),
    )
    return seal_statement(KeySigner(key), REPORT, encode(made))


async def fetched(**told: Any) -> Measured:
    series = SampleSeries(**{"step_s": 0, "since_at": FROM, "until_at": UNTIL, **told})

    async def samples(*_: Any) -> SampleSeries:
        return series

    desk = SimpleNamespace(relay=SimpleNamespace(samples=samples), trust=SimpleNamespace(organisation=ORGANISATION))
    judged = SimpleNamespace(id=DEVICE, device_key=Organisation.line(KEY))
    return await fetch_samples(desk, judged, FROM, UNTIL)  # type: ignore[arg-type]  # what it looks at


async def test_signed_batches_are_believed_once_each_and_in_the_order_of_their_time() -> None:
    measured = await fetched(batches=(batch(2, FROM + 600), batch(1, FROM), batch(2, FROM + 600)))
    assert measured.is_signed and measured.faults == 0
    assert [sample.at for sample in measured.samples] == [
        *range(FROM, FROM + 300, 60),
        *range(FROM + 600, FROM + 900, 60),
    ]


async def test_what_the_device_did_not_sign_is_counted_and_not_shown() -> None:
    forged = batch(3, FROM, key=STRANGER, cpu=99.0)
    changed = Signed(payload=batch(1, FROM).payload + b" ", signature=batch(1, FROM).signature)
    measured = await fetched(batches=(forged, changed, batch(2, FROM + 600)))
    assert measured.faults == 2 and measured.first_fault
    assert {value for sample in measured.samples for value in sample.values.values()} == {7.0}


async def test_samples_outside_of_the_time_asked_for_are_left_out() -> None:
    measured = await fetched(batches=(batch(1, FROM - 120), batch(2, UNTIL - 60)))
    assert all(FROM <= sample.at <= UNTIL for sample in measured.samples) and len(measured.samples) == 5


@pytest.mark.parametrize(
    "cell",
    [(0, 1.0, 1.0, 1.0), (1, 1e300, 0.0, 1e300), (1, -5.0, -5.0, -5.0), (1, 50.0, 60.0, 70.0), (1, 5.0, 9.0, 1.0)],
)
async def test_of_roll_ups_that_cannot_be_nothing_is_shown(cell: tuple[int, float, float, float]) -> None:
    good = SampleBucket(at=FROM + 300, values={"cpu_percent": (3, 5.0, 1.0, 9.0), "of_tomorrow": (1, 1.0, 1.0, 1.0)})
    bad = SampleBucket(at=FROM + 600, values={"cpu_percent": cell})
    late = SampleBucket(at=2**52, values={"cpu_percent": (3, 5.0, 1.0, 9.0)})
    measured = await fetched(step_s=300, buckets=(late, bad, good))
    assert not measured.is_signed and [point.at for point in measured.points["cpu_percent"]] == [FROM + 300]
    assert set(measured.points) == {"cpu_percent"}


async def test_it_is_drawn_with_its_source_its_gaps_and_its_outages(capsys: pytest.CaptureFixture[str]) -> None:
    measured = await fetched(batches=(batch(1, FROM), batch(2, FROM + 3000)))
    outage = Outage(from_at=FROM + 900, until_at=FROM + 1800, code="dns-dead", rung="dns")
    samples_view(measured, (outage,))
    drawn = capsys.readouterr().out
    assert "cpu_percent: 7 % to 7 %" in drawn and "x: without a relay" in drawn and "dns-dead" in drawn
    axis = next(line for line in drawn.splitlines() if "xxx" in line)
    bars = next(line for line in drawn.splitlines() if line.lstrip().startswith("0 %"))
    assert " " in bars[12:].rstrip(), "a time of which nothing is known"
    assert 0.2 < axis.count("x") / len(axis[12:]) < 0.3
    assert source_text(measured) == "measured and signed by the device"
    assert "its word" in source_text(await fetched(step_s=3600))


async def test_nothing_measured_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    samples_view(await fetched(), ())
    assert capsys.readouterr().out == "nothing was measured in this time\n"


async def test_csv_and_json_say_the_same_of_samples_and_of_roll_ups(capsys: pytest.CaptureFixture[str]) -> None:
    signed = await fetched(batches=(batch(1, FROM, count=1),))
    print_samples_csv(signed)
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{FROM},7.0,")
    assert samples_record(signed, ())["samples"] == [{"at": FROM, "cpu_percent": 7.0}]
    rolled = await fetched(step_s=300, buckets=(SampleBucket(at=FROM, values={"cpu_percent": (3, 5.0, 1.0, 9.0)}),))
    print_samples_csv(rolled)
    assert capsys.readouterr().out.splitlines()[1].startswith(f"{FROM},5.0,1.0,9.0,")
    cell = {"count": 3, "mean": 5.0, "least": 1.0, "most": 9.0}
    assert samples_record(rolled, ())["samples"] == [{"at": FROM, "cpu_percent": cell}]
