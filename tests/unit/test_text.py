"""What strangers say, made fit for a terminal."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from protocol.text import LINE_LIMIT, csv_line, escape


@pytest.mark.parametrize(
    "text",
    ["plain", "ñandú, Straße, naïve", "日本語", "العربية", "עברית", "Việt Nam", "हिन्दी", "€ → ✓ 😀", "a\\b", "é"],
)
def test_every_script_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\x1b]0;title\x07", "a\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\u200bb\u200d\ufeff", "a\\u200bb\\u200d\\ufeff"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("a\u00adb", "a\\xadb"),
        ("1\u00a0000\u3000km", "1 000 km"),
        ("a\u3164b", "a\\u3164b"),
    ],
)
def test_what_a_terminal_obeys_or_hides_is_spelled_out(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_lines_stay_only_where_they_are_wanted() -> None:
    assert escape("a\n\tb\x1b", multiline=True) == "a\n\tb\\x1b"
    assert escape("a\r\nb", multiline=True) == "a\\r\nb"


def test_a_pile_of_marks_does_not_climb_over_other_lines() -> None:
    zalgo = escape("a" + "\u0301" * 50, limit=1000)
    assert sum(map(bool, map(unicodedata.combining, zalgo))) == 4
    assert escape("e\u0302\u0301") == "e\u0302\u0301"


def test_what_is_too_long_is_cut_and_says_so() -> None:
    assert escape("x" * 1000) == "x" * (LINE_LIMIT - 1) + "…"
    assert escape("\x1b" * 10, limit=10) == "\\x1b\\x1b\\…"
    assert escape("abc", limit=3) == "abc"
    assert escape("abcd", limit=1) == "…"


def test_no_character_of_unicode_gets_through_as_a_control() -> None:
    for start in range(0, sys.maxunicode + 1, 4096):
        shown = escape("".join(map(chr, range(start, start + 4096))), limit=50_000)
        assert shown.isprintable(), hex(start)
        assert "…" not in shown[-1:]
        shown.encode()


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("  =1+1", "'  =1+1"),
        ("x;=cmd|'/C calc'!A0", "x;'=cmd|'/C calc'!A0"),
        ("a,@sum", '"a,\'@sum"'),
        ("a|+1", "a|'+1"),
        (-71, "-71"),
        ("a-b=c", "a-b=c"),
        ('say "no"', '"say ""no"""'),
    ],
)
def test_no_spreadsheet_finds_a_formula_whatever_separates_its_lists(cell: object, shown: str) -> None:
    assert csv_line([cell]) == f"{shown}\n"
