"""Makers of memory modules by JEDEC's numbers, in all the ways in which firmware prints them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.facts.parsers.jedec import MAKERS, maker_name, maker_of_id, part_number
from tests.support.daemons import find, need


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Samsung", "Samsung"),
        ("80CE", "Samsung"),
        ("00CE", "Samsung"),
        ("CE00", "Samsung"),
        ("CE80", "Samsung"),
        ("0xCE00000000000000", "Samsung"),
        ("80CE04B380CE", "Samsung"),
        ("00AD063200AD", "SK Hynix"),
        ("0x80AD", "SK Hynix"),
        ("C100000000000000", "Infineon"),
        ("7F7FFE0000000000", "Elpida"),
        ("0x02FE", "Elpida"),
        ("04CD", "G.Skill"),
        ("0x04CD", "G.Skill"),
        ("859B", "Crucial"),
        ("7F7F7F7F7F9B0000", "Crucial"),
        ("029E", "Corsair"),
        ("0198", "Kingston"),
        ("JEDEC ID:7F 7F 7F 7F 43 00 00 00", "Ramaxel"),
        ("JEDEC ID:2C 0C 11 21 39 09 63 F9", "Micron"),  # and what else stands there
        ("JEDEC ID:AD", "SK Hynix"),
        ("JEDEC ID:", ""),
        ("0000", ""),
        ("0x0000", ""),
        ("FFFFFFFFFFFF", ""),
        ("1315", "1315"),  # nobody's
        ("0416", "0416"),
        ("AD", "AD"),  # a name of two letters, for all that is known
        ("ADATA", "ADATA"),
        ("7F7F7F7F7F7F7F7F", "7F7F7F7F7F7F7F7F"),
    ],
)
def test_a_number_becomes_the_name_behind_it_and_a_name_stays(text: str, name: str) -> None:
    assert maker_name(text) == name


@pytest.mark.parametrize(
    ("word", "name"), [(0xCE80, "Samsung"), (0x9B85, "Crucial"), (0, ""), (None, ""), (0xFFFF, "")]
)
def test_the_number_in_a_structure_of_its_own_is_read(word: int | None, name: str) -> None:
    assert maker_of_id(word) == name


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0x46412D38353030434C372D34474253510000", "FA-8500CL7-4GBSQ"),
        ("0x4B0000000000000000000000000000000000", "K"),
        ("0x0000000000000000", ""),
        ("M471A1K43CB1-CRC", "M471A1K43CB1-CRC"),
        ("0x12", "0x12"),
    ],
)
def test_a_part_number_in_hexadecimal_is_spelled_out(text: str, part: str) -> None:
    assert part_number(text) == part


def test_the_makers_are_those_of_the_list_that_the_kernel_s_tools_carry() -> None:
    need("decode-dimms")
    program = find("decode-dimms")
    assert program is not None
    source = Path(program).read_text(errors="replace")
    listed = source[source.index("@vendors = (") : source.index(");\n", source.index("@vendors = ("))]
    banks = [re.findall(r'"([^"]*)"', bank) for bank in listed.split("[")[1:]]
    assert [len(bank) for bank in banks[:-1]] == [126] * (len(banks) - 1)

    def plain(name: str) -> str:
        return re.sub(r"[^a-z]", "", name.lower())

    for (bank, id_), name in MAKERS.items():
        theirs = plain(banks[bank - 1][id_ - 1])
        assert plain(name.split(" (")[0]) in theirs, f"{name} is {theirs}"


@given(st.text(max_size=40) | st.from_regex(r"(?:0x|JEDEC ID:)?(?:[0-9A-F]{2} ?){1,12}", fullmatch=True))
def test_whatever_is_printed_nothing_is_raised(text: str) -> None:
    assert maker_name(text) in ("", text, *MAKERS.values())
    assert len(part_number(text)) <= len(text)
