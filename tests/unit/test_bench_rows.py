"""What the bench makes of figures; taking them is tests/e2e/test_bench.py."""

from __future__ import annotations

import pytest

from tests.bench.rows import Row, ours_at_most, pair, percentile, ratio_at_least, ratio_at_most, table
from tests.bench.settings import Settings

SEVEN = {"name", "unit", "ours", "peer", "ratio", "aim", "met"}


def test_a_record_has_the_seven_keys_and_its_ratio_is_of_the_figures_that_are_printed() -> None:
    record = pair("bulk", "MB/s", [301.04, 299.96, 280.0], [100.0, 150.0, 149.96], ratio_at_least(2.0)).record()
    assert record.keys() >= SEVEN
    assert (record["ours"], record["peer"], record["ratio"]) == (300.0, 150.0, 2.0)
    assert record["aim"] == "ratio >= 2" and record["met"] is True
    assert record["ours_all"] == [301.0, 300.0, 280.0]


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("a", "ms", 7.0, 10.0, ratio_at_most(0.7)), True),
        (Row("a", "ms", 7.1, 10.0, ratio_at_most(0.7)), False),
        (Row("a", "KiB", 48.0, 2000.0, ours_at_most(48)), True),
        (Row("a", "KiB", 48.1, None, ours_at_most(48)), False),
        (Row("a", "ms", 7.0, None, ratio_at_most(0.7)), None),
        (Row("a", "ms", 7.0, 0.0, ratio_at_most(0.7)), None),
        (Row("a", "ms", None, 10.0, ours_at_most(48)), None),
        (Row("a", "ms", 7.0, 10.0), None),
    ],
)
def test_an_aim_is_met_missed_or_has_nothing_to_be_held_against(row: Row, met: bool | None) -> None:
    assert row.met is met and row.record()["met"] is met


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(1000, 0, -1)]
    assert [percentile(values, percent) for percent in (50, 99, 100)] == [500.0, 990.0, 1000.0]
    assert percentile([3.0], 99) == 3.0


def test_the_table_says_why_a_row_is_empty() -> None:
    text = table(
        [Row("keys", "ms", 0.5, 1.0, ratio_at_most(0.7)), Row("others", "", None, None, note="npm is missing")]
    )
    assert "ratio <= 0.7  yes" in text
    assert text.endswith("others: npm is missing")


def test_settings_come_from_the_environment_and_are_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUXILIO_BENCH_MIB", "3")
    monkeypatch.setenv("AUXILIO_BENCH_OUTPUT", "elsewhere/figures.json")
    monkeypatch.setenv("AUXILIO_BENCH_ONLY", "keys bulk")
    settings = Settings.of_environment()
    assert (settings.size, settings.keys, settings.only) == (3 * 1024 * 1024, 1000, ("keys", "bulk"))
    assert settings.machine.as_posix() == "elsewhere/figures-machine.json"
    monkeypatch.setenv("AUXILIO_BENCH_ONLY", "everything")
    with pytest.raises(ValueError, match="ONLY some of: idle"):
        Settings.of_environment()
    monkeypatch.setenv("AUXILIO_BENCH_ONLY", "")
    monkeypatch.setenv("AUXILIO_BENCH_KEYS", "0")
    with pytest.raises(ValueError, match="at least 1"):
        Settings.of_environment()
