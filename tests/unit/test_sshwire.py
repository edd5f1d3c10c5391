"""SSH's wire format: the values of RFC 4251, every bound, and that nothing but BadMessage comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import BadMessage
from protocol.sshwire import MAX_STRING_BYTES, Reader, mpint, string, u32, u64

MPINTS = [(0x9A378F9B2E332A7, "0000000809a378f9b2e332a7"), (0x80, "000000020080")]
"""The positive ones of RFC 4251 section 5."""


@pytest.mark.parametrize(("value", "encoded"), MPINTS)
def test_integers_are_those_of_the_rfc(value: int, encoded: str) -> None:
    assert mpint(value) == bytes.fromhex(encoded)
    assert Reader(bytes.fromhex(encoded)).positive_mpint() == value


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        ("00000000", "bad_integer"),  # zero
        ("0000000100", "bad_integer"),  # zero, longer than it must be
        ("0000000180", "bad_integer"),  # -128
        ("00000002ff7f", "bad_integer"),  # -129
        ("00000002007f", "bad_integer"),  # 127, longer than it must be
        ("00000003000080", "bad_integer"),  # 128, longer than it must be
        ("00000041" + "01" * 65, "too_long"),
        ("0000000201", "truncated"),
    ],
)
def test_an_integer_has_one_form(encoded: str, code: str) -> None:
    with pytest.raises(BadMessage) as caught:
        Reader(bytes.fromhex(encoded)).positive_mpint()
    assert caught.value.reason == code


def test_a_reader_gives_back_what_was_written_and_ends_where_it_ends() -> None:
    reader = Reader(b"\x07" + u32(2**32 - 1) + u64(2**64 - 1) + string(b"\xff\x00") + string("ñ") + b"tail")
    assert (reader.u8(), reader.u32(), reader.u64()) == (7, 2**32 - 1, 2**64 - 1)
    assert (reader.string(), reader.text()) == (b"\xff\x00", "ñ")
    assert (reader.remaining, reader.position) == (4, 1 + 4 + 8 + 6 + 6)
    with pytest.raises(BadMessage) as caught:
        reader.done()
    assert caught.value.reason == "trailing_bytes"
    assert reader.take(4) == b"tail"
    reader.done()


@pytest.mark.parametrize(
    ("data", "read", "code"),
    [
        (b"", lambda r: r.u8(), "truncated"),
        (b"\0\0\0", lambda r: r.u32(), "truncated"),
        (bytes(7), lambda r: r.u64(), "truncated"),
        (u32(5) + b"four", lambda r: r.string(), "truncated"),
        (u32(MAX_STRING_BYTES + 1) + bytes(MAX_STRING_BYTES + 1), lambda r: r.string(), "too_long"),
        (u32(2**32 - 1), lambda r: r.string(2**32), "truncated"),
        (string(b"12345"), lambda r: r.string(4), "too_long"),
        (string(b"\xc3\x28"), lambda r: r.text(), "bad_text"),
        (string(b"a\0b"), lambda r: r.text(), "bad_text"),
        (string(b"\0"), lambda r: r.text(), "bad_text"),
        (string("\ud800".encode("utf-8", "surrogatepass")), lambda r: r.text(), "bad_text"),
    ],
)
def test_every_fault_has_its_code(data: bytes, read: Callable[[Reader], object], code: str) -> None:
    with pytest.raises(BadMessage) as caught:
        read(Reader(data))
    assert caught.value.reason == code


@given(data=st.binary(max_size=60), methods=st.lists(st.sampled_from(["u8", "u32", "u64", "string", "text", "done"])))
def test_any_bytes_read_in_any_way_give_values_or_bad_message(data: bytes, methods: list[str]) -> None:
    reader = Reader(data)
    for method in methods:
        try:
            getattr(reader, method)()
        except BadMessage:
            pass
        assert 0 <= reader.position <= len(data)


@given(value=st.integers(1, 2**504 - 1))
def test_integers_survive_a_round_trip(value: int) -> None:
    reader = Reader(mpint(value))
    assert reader.positive_mpint() == value
    reader.done()
