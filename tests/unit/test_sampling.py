"""When samples are taken, batched and sent; and which go where there are too many."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.facts.parsers.processor_time import ProcessorTime, busy_percent
from agent.sample_spool import SampleSpool
from agent.sampling import (
    ANSWER_S,
    BATCH_S,
    BATTERY_FACTOR,
    SAMPLE_S,
    Effect,
    Forget,
    Keep,
    MakeBatch,
    SamplingMachine,
    Send,
    TakeSample,
    to_drop,
)
from agent.spool import Spool
from protocol.codec import encode
from protocol.errors import BadMessage, Refused, Untrusted
from protocol.facts import strongest_signal
from protocol.ids import DeviceId, OrganisationId, device_id, sha256
from protocol.report import Report, open_report
from protocol.samples import MAX_SAMPLES, MAX_SPAN_S, Sample, SampleBatch, batch_of, columns_of, open_samples
from protocol.sections.base import Section
from protocol.sections.modem import Modem, Modems
from protocol.signing import KeyRawSigner, KeySigner
from protocol.statement import REPORT, Signed, seal_statement
from tests.support.organisation import Organisation, new_key

SIGNED = Signed(payload=b"batch", signature=b"signature")
ORGANISATION = OrganisationId("a" * 52)
KEY = new_key()
DEVICE = device_id(KeyRawSigner(KEY).public)


def ticks(machine: SamplingMachine, count: int, **sampled: bool) -> list[Effect]:
    """Let `count` samples be taken in their time; what else was to be done."""
    done: list[Effect] = []
    for _ in range(count):
        now = machine.next_deadline()
        for effect in machine.on_tick(now):
            if isinstance(effect, TakeSample):
                done += machine.sampled(now, **sampled)
            else:
                done.append(effect)
    return done


# -- the machine -----------------------------------------------------------------------------------------------------


def test_a_sample_is_due_every_minute_and_nothing_else_wakes_the_device() -> None:
    machine = SamplingMachine(1000.0)
    assert machine.on_tick(1000.0) == [TakeSample()] and machine.on_tick(1000.0) == []
    machine.sampled(1000.1)
    assert machine.next_deadline() == 1000.0 + SAMPLE_S and machine.on_tick(1059.9) == []


def test_on_battery_it_is_due_less_often() -> None:
    machine = SamplingMachine(0.0)
    machine.on_tick(0.0)
    machine.sampled(0.0, on_battery=True)
    assert machine.next_deadline() == SAMPLE_S * BATTERY_FACTOR


def test_a_machine_that_slept_takes_one_sample_and_not_all_that_it_missed() -> None:
    machine = SamplingMachine(0.0)
    machine.on_tick(0.0)
    machine.sampled(0.0)
    assert machine.on_tick(36_000.0) == [TakeSample()]
    machine.sampled(36_000.0)
    assert machine.on_tick(36_000.0) == [] and machine.next_deadline() == 36_000.0 + SAMPLE_S


def test_the_disk_is_written_to_every_five_minutes_and_not_with_each_sample() -> None:
    assert ticks(SamplingMachine(0.0), 60).count(Keep()) == 12


def test_a_batch_is_made_every_quarter_of_an_hour_where_there_is_a_link_and_never_without() -> None:
    assert not any(isinstance(effect, MakeBatch) for effect in ticks(SamplingMachine(0.0), 300))
    machine = SamplingMachine(0.0)
    machine.link_up(41, 0.0)
    made = [effect for effect in ticks(machine, int(BATCH_S / SAMPLE_S) + 1) if not isinstance(effect, Keep)]
    assert made == [MakeBatch(41)]


def test_one_batch_is_under_way_and_the_next_follows_its_acknowledgement() -> None:
    machine = SamplingMachine(0.0, [7, 8])
    machine.link_up(6, 0.0)
    assert machine.on_tick(0.0) == [TakeSample(), Send(7)]
    machine.sampled(0.0)
    assert machine.on_tick(1.0) == []
    assert machine.on_ack(7, 2.0) == [Forget(7), Send(8)]
    assert machine.on_ack(8, 3.0) == [Forget(8)]


def test_what_is_not_answered_is_sent_again_also_over_another_link() -> None:
    machine = SamplingMachine(0.0, [7])
    machine.link_up(6, 0.0)
    assert Send(7) in machine.on_tick(0.0)
    machine.sampled(0.0)
    assert Send(7) in machine.on_tick(ANSWER_S)
    machine.link_down()
    assert machine.on_ack(7, 200.0) == [], "an answer over a link that is gone"
    machine.link_up(6, 300.0)
    assert Send(7) in machine.on_tick(300.0)


def test_what_the_relay_says_it_has_committed_is_forgotten_and_not_sent() -> None:
    machine = SamplingMachine(0.0, [7, 8])
    assert machine.link_up(7, 0.0) == [Forget(7)]
    assert machine.on_tick(0.0) == [TakeSample(), Send(8)]


def test_a_relay_that_takes_no_samples_gets_none() -> None:
    machine = SamplingMachine(0.0, [7], has_samples=True)
    assert machine.link_up(None, 0.0) == [] and machine.on_tick(0.0) == [TakeSample()]


def test_after_a_long_absence_batch_follows_batch_until_nothing_is_left() -> None:
    machine = SamplingMachine(0.0, has_samples=True)
    machine.link_up(0, 0.0)
    assert machine.on_tick(0.0) == [TakeSample(), MakeBatch(0)]
    assert machine.batch_made(1, 0.0, more=True) == [Send(1)]
    assert machine.on_ack(1, 1.0) == [Forget(1), MakeBatch(1)]
    assert machine.batch_made(2, 1.0, more=False) == [Send(2)]
    assert machine.on_ack(2, 2.0) == [Forget(2)]


def test_a_refused_batch_is_given_up_and_the_next_one_goes() -> None:
    machine = SamplingMachine(0.0, [7, 8])
    machine.link_up(0, 0.0)
    machine.on_tick(0.0)
    assert machine.refused(1.0) == [Forget(7)]
    machine.link_down()
    machine.link_up(0, 2.0)
    assert machine.on_tick(2.0) == [Send(8)]


# -- thinning --------------------------------------------------------------------------------------------------------


def test_the_older_half_loses_every_second_one_and_the_first_stays() -> None:
    assert to_drop(range(16)) == [1, 3, 5, 7]
    assert to_drop([]) == to_drop([1]) == to_drop([1, 2, 3]) == []


@given(st.integers(64, 400), st.integers(0, 3000))
def test_thinned_again_and_again_the_past_grows_sparse_and_the_last_hours_stay_whole(most: int, count: int) -> None:
    kept: list[int] = []
    for at in range(count):
        kept.append(at)
        while len(kept) > most:
            gone = set(to_drop(kept))
            assert gone
            kept = [at for at in kept if at not in gone]
    assert len(kept) <= most and kept[:1] == list(range(count))[:1]
    recent = kept[-(most // 4) :]
    assert recent == list(range(count))[-len(recent) :] if recent else not kept
    gaps = [later - earlier for earlier, later in pairwise(kept)]
    assert all(earlier >= later for earlier, later in pairwise(gaps)), "the older, the sparser"


# -- the spool -------------------------------------------------------------------------------------------------------


def samples(count: int, start: int = 1_700_000_000, step: int = 60) -> list[Sample]:
    return [Sample(start + step * i, {"cpu_percent": float(i % 100)}) for i in range(count)]


def test_a_sample_is_in_the_spool_or_in_a_batch_and_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    SampleSpool(Spool(path)).add(samples(5))
    spool = SampleSpool(Spool(path))
    kept = spool.oldest()
    assert [one.sample for one in kept] == samples(5)
    spool.put_batch(spool.next_number(0), SIGNED, [one.id for one in kept[:3]])
    again = SampleSpool(Spool(path))
    assert again.batches() == (1,) and again.batch(1) == SIGNED
    assert [one.sample for one in again.oldest()] == samples(5)[3:] and again.waiting() == 2
    again.forget(1)
    assert again.batches() == () and SampleSpool(Spool(path)).next_number(0) == 2
    assert again.next_number(41) == 42, "a relay that has seen more than this file remembers"


def test_too_many_samples_are_thinned_from_the_oldest_on(tmp_path: Path) -> None:
    spool = SampleSpool(Spool(tmp_path / "spool.sqlite"), most=100)
    for sample in samples(1000):
        spool.add([sample])
    kept = [one.sample.at for one in spool.oldest(1000)]
    assert len(kept) <= 100
    assert kept[0] == samples(1)[0].at and kept[-25:] == [sample.at for sample in samples(1000)[-25:]]


def test_for_want_of_room_samples_are_thinned_before_any_report_goes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", max_bytes=40_000)
    SampleSpool(spool).add(samples(1000))
    for number in range(1, 31):
        data = bytes([number]) * 1000
        spool.put_report(number, SIGNED, [("findings", sha256(data), data)])
    assert spool.waiting() == tuple(range(1, 31)) and spool.status().dropped == 0
    assert 64 <= SampleSpool(spool).waiting() < 1000
    for number in range(31, 61):
        data = bytes([number]) * 1000
        spool.put_report(number, SIGNED, [("findings", sha256(data), data)])
    assert spool.status().dropped > 0 and spool.waiting()[-1] == 60 and spool.status().bytes <= 40_000


def test_a_spool_of_the_release_before_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    old = Spool(path)
    old.put_report(1, SIGNED, [("memory", sha256(b"x"), b"x")])
    old.db.executescript("DROP TABLE samples; DROP TABLE batches; PRAGMA user_version=1;")
    old.close()
    new = Spool(path)
    assert new.moved_aside is None and new.waiting() == (1,)
    SampleSpool(new).add(samples(1))
    assert SampleSpool(new).waiting() == 1


# -- the batch -------------------------------------------------------------------------------------------------------


def sealed(**changes: object) -> Signed:
    fields: dict[str, object] = {
        "organisation": ORGANISATION,
        "device": DEVICE,
        "number": 1,
        "at": (100, 160),
        "values": {"cpu_percent": (1.5, None)},
    }
    return seal_statement(KeySigner(KEY), REPORT, encode(SampleBatch(**{**fields, **changes})))  # type: ignore[arg-type]


def opened(signed: Signed) -> SampleBatch:
    return open_samples(signed, organisation=ORGANISATION, device=DEVICE, device_key=Organisation.line(KEY))


def test_a_batch_says_what_was_measured_and_nothing_where_nothing_was() -> None:
    assert list(opened(sealed()).samples()) == [Sample(100, {"cpu_percent": 1.5}), Sample(160, {})]


@pytest.mark.parametrize(
    "changes",
    [
        {"at": (), "values": {}},
        {"at": (160, 100)},
        {"at": (100, 100)},
        {"at": (0, MAX_SPAN_S + 1)},
        {"at": tuple(range(MAX_SAMPLES + 1)), "values": {}},
        {"values": {"cpu_percent": (1.0,)}},
        {"values": {"cpu_percent": (1.0, 101.0)}},
        {"values": {"signal_dbm": (0.0, -1e9)}},
        {"values": {"../x": (1.0, 1.0)}},
        {"values": {f"metric_{i}": (1.0, 1.0) for i in range(17)}},
        {"number": 0},
    ],
)
def test_a_batch_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadMessage):
        opened(sealed(**changes))


def test_a_batch_is_its_own_devices_and_its_organisations() -> None:
    with pytest.raises(Refused):
        opened(sealed(organisation=OrganisationId("b" * 52)))
    with pytest.raises(Refused):
        opened(sealed(device=DeviceId("aaaaa-bbbbb-ccccc-ddddd")))
    good = sealed()
    with pytest.raises(Untrusted):
        opened(Signed(payload=good.payload + b" ", signature=good.signature))


def test_a_batch_is_no_report_and_a_report_is_no_batch() -> None:
    with pytest.raises(BadMessage):
        open_report(sealed(), organisation=ORGANISATION, device=DEVICE, device_key=Organisation.line(KEY))
    report = Report(organisation=ORGANISATION, device=DEVICE, number=1, collected_at=100, sections={})
    with pytest.raises(BadMessage):
        opened(seal_statement(KeySigner(KEY), REPORT, encode(report)))


@given(st.lists(st.integers(0, 10**6), max_size=600))
def test_whatever_the_clock_did_the_samples_fall_into_batches_that_are_taken(instants: list[int]) -> None:
    left = [Sample(at, {"cpu_percent": 1.0}) for at in instants]
    while left:
        taken = batch_of(left)
        assert taken and taken == left[: len(taken)]
        batch = sealed(at=tuple(sample.at for sample in taken), values=columns_of(taken))
        assert list(opened(batch).samples()) == taken
        left = left[len(taken) :]


# -- what is measured ------------------------------------------------------------------------------------------------


def test_busy_is_what_was_not_idle_and_unknown_where_the_counters_began_anew() -> None:
    before = ProcessorTime(total=100.0, idle=50.0)
    assert busy_percent(before, ProcessorTime(total=200.0, idle=125.0)) == 25.0
    assert busy_percent(before, before) is None
    assert busy_percent(before, ProcessorTime(total=10.0, idle=5.0)) is None
    assert busy_percent(before, ProcessorTime(total=110.0, idle=70.0)) is None


def test_signal_is_that_of_the_modem_that_hears_best_and_absent_without_one() -> None:
    assert strongest_signal(None) is None and strongest_signal(Section()) is None
    assert strongest_signal(Modems(modems=(Modem(rssi_dbm=-71, rsrp_dbm=-101),))) == -101
    assert strongest_signal(Modems(modems=(Modem(), Modem(rssi_dbm=-91), Modem(rssi_dbm=-71)))) == -71
