"""Charts in a terminal: what is known is drawn, and what is not is a gap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.charts import BLOCKS, LABEL_CHARS, PLAIN, Point, Span, axis, chart, columns, legend, rows

BLOCK_LETTERS = set("▁▂▃▄▅▆▇█")


def points(*values: float, start: float = 0.0, step: float = 60.0) -> list[Point]:
    return [Point(start + step * i, value, value, value) for i, value in enumerate(values)]


def test_a_rising_value_rises_from_left_to_right_over_the_lines() -> None:
    assert rows([0.0, 25.0, 50.0, 75.0, 100.0], 0.0, 100.0, height=2) == ["   ▄█", "▁▄███"]
    assert rows([0.0, 100.0], 0.0, 100.0, height=1, glyphs=PLAIN) == [".#"]


def test_nothing_known_is_blank_and_nothing_measured_is_not() -> None:
    assert rows([None, 0.0, None], 0.0, 100.0, height=1) == [" ▁ "]
    assert rows([5.0, 5.0], 5.0, 5.0, height=1) == ["▁▁"], "a scale without extent"


def test_a_column_is_the_mean_of_what_lies_in_it() -> None:
    assert columns(points(10, 20, 30, 40), Span(0.0, 240.0, 2)) == [15.0, 35.0]


def test_a_long_silence_is_a_gap_and_a_short_one_is_not() -> None:
    span = Span(0.0, 3600.0, 60)
    seen = points(*[1.0] * 10) + points(*[1.0] * 10, start=3000.0)
    drawn = columns(seen, span)
    assert [value is None for value in drawn] == [False] * 10 + [True] * 40 + [False] * 10
    rare = columns(points(1.0, 2.0, 3.0, step=300.0), span)  # on battery
    assert rare[:11] == [1.0] * 5 + [2.0] * 5 + [3.0]


def test_what_is_measured_once_an_hour_is_drawn_through() -> None:
    drawn = columns(points(*[0.0] * 24, step=3600.0), Span(0.0, 86_400.0, 96))
    assert all(value == 0.0 for value in drawn[:93])


def test_the_last_instant_of_the_time_is_drawn() -> None:
    assert columns(points(7.0, start=240.0), Span(0.0, 240.0, 4)) == [None, None, None, 7.0]


def test_times_without_a_relay_are_marked_on_the_axis() -> None:
    span = Span(1000.0, 2000.0, 10)
    assert axis([(1200.0, 1399.0)], span, PLAIN) == "--xx------"
    assert axis([(0.0, 1050.0), (1950.0, 9999.0)], span, PLAIN) == "x--------x"
    assert axis([(0.0, 10.0), (5000.0, 6000.0)], span, PLAIN) == "-" * 10


def test_the_legend_says_in_numbers_what_the_chart_shows() -> None:
    assert legend("latency_ms", points(1, 2, 6), lambda value: f"{value:g} ms") == (
        "latency_ms: 1 ms to 6 ms, mean 3 ms, last 6 ms"
    )


@given(
    st.lists(st.tuples(st.floats(-1e6, 2e6), st.floats(-1e9, 1e9)), min_size=1, max_size=50),
    st.integers(1, 120),
    st.lists(st.tuples(st.floats(-1e7, 1e7), st.floats(-1e7, 1e7)), max_size=5),
)
def test_whatever_was_measured_a_chart_has_its_lines_and_its_width(
    seen: list[tuple[float, float]], width: int, lost: list[tuple[float, float]]
) -> None:
    drawn = chart(
        [Point(at, value, value, value) for at, value in sorted(seen)],
        Span(0.0, 1e6, width),
        least=-1e3,
        most=1e3,
        shown=lambda value: f"{value:.0f} % of something long",
        lost=lost,
    )
    assert len(drawn) == 5 and all(len(line) <= LABEL_CHARS + 2 + width for line in drawn)
    assert len(drawn[-1]) == LABEL_CHARS + 2 + width
    assert set("".join(line[LABEL_CHARS + 2 :] for line in drawn[:-1])) <= BLOCK_LETTERS | {" "}
    assert set(drawn[-1][LABEL_CHARS + 2 :]) <= {BLOCKS.line, BLOCKS.lost}
