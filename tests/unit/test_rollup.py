"""How samples become coarser with age."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.samples import Sample
from relay import rollup
from relay.rollup import FIVE_MINUTES, HOUR, LEVELS, Cell, Level

NOW = 1_700_000_000.0
instants = st.integers(int(NOW) - 86_400, int(NOW))
values = st.dictionaries(st.sampled_from(["cpu_percent", "latency_ms"]), st.floats(0, 100), max_size=2)
many = st.lists(st.builds(Sample, instants, values), max_size=60)


@pytest.mark.parametrize("level", LEVELS)
@given(samples=many)
def test_every_sample_is_counted_in_its_bucket_whatever_the_order_and_the_batches(
    level: Level, samples: list[Sample]
) -> None:
    def folded(parts: list[list[Sample]]) -> dict[int, rollup.Chunk]:
        chunks: dict[int, rollup.Chunk] = {}
        for part in parts:
            for at, some in rollup.by_chunk(level, part).items():
                kept = rollup.read_chunk(rollup.write_chunk(chunks[at])) if at in chunks else {}
                chunks[at] = rollup.fold(kept, level, some)
        return chunks

    one_by_one = [[sample] for sample in samples]
    random.Random(1).shuffle(one_by_one)
    whole, apart = folded([samples]), folded(one_by_one)
    for metric in ("cpu_percent", "latency_ms"):
        measured: dict[int, list[float]] = {}
        for sample in samples:
            if metric in sample.values:
                measured.setdefault(level.bucket_at(sample.at), []).append(sample.values[metric])
        for chunks in (whole, apart):
            cells = {b: c[metric] for chunk in chunks.values() for b, c in chunk.items() if metric in c}
            assert cells.keys() == measured.keys()
            for at, cell in cells.items():
                known = measured[at]
                assert (cell.count, cell.least, cell.most) == (len(known), min(known), max(known))
                assert math.isclose(cell.mean, sum(known) / len(known), abs_tol=0.002)
                assert cell.least <= cell.mean <= cell.most


def test_metrics_of_tomorrow_are_not_rolled_up_and_what_is_damaged_counts_as_empty() -> None:
    assert rollup.fold({}, HOUR, [Sample(7200, {"of_tomorrow": 1.0})]) == {}
    assert rollup.read_chunk(b"\x00damaged") == {}


def test_a_cell_is_count_total_least_and_most() -> None:
    chunk = rollup.fold({}, FIVE_MINUTES, [Sample(300, {"cpu_percent": 10.0}), Sample(599, {"cpu_percent": 30.0})])
    assert chunk == {300: {"cpu_percent": Cell(2, 40.0, 10.0, 30.0)}}


def test_what_is_too_old_or_of_tomorrow_is_not_counted() -> None:
    old, fresh, ahead = int(NOW) - FIVE_MINUTES.keep_s - 2 * 3600, int(NOW) - 60, int(NOW) + rollup.AHEAD_S + 1
    samples = [Sample(at, {"cpu_percent": 1.0}) for at in (old, fresh, ahead)]
    assert [sample.at for sample in rollup.countable(FIVE_MINUTES, samples, NOW)] == [fresh]
    assert [sample.at for sample in rollup.countable(HOUR, samples, NOW)] == [old, fresh]


def test_the_finest_level_that_reaches_back_is_chosen() -> None:
    day = rollup.DAY_S
    assert rollup.level_for(NOW - day, NOW) is None
    assert rollup.level_for(NOW - 3 * day, NOW) is FIVE_MINUTES
    assert rollup.level_for(NOW - 31 * day, NOW) is HOUR
    assert rollup.level_for(0, NOW) is HOUR


def test_the_levels_are_those_of_the_agreement() -> None:
    kept = {level.step_s: level.keep_s // rollup.DAY_S for level in LEVELS}
    assert rollup.RAW_S == 2 * rollup.DAY_S and kept == {300: 30, 3600: 730}
    assert all(level.chunk_s % level.step_s == 0 and rollup.DAY_S % level.chunk_s == 0 for level in LEVELS)
