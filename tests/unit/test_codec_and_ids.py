"""Types at the door: whatever the bytes are, they become a value or BadMessage."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import ids
from protocol.api import Presence
from protocol.codec import MAX_MESSAGE_BYTES, Record, Strict, decode, encode
from protocol.errors import BadMessage


class Loose(Record):
    name: str
    size: int = 0


class Tight(Strict):
    name: str


def test_a_message_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(BadMessage, match="the most"):
        decode(b" " * (MAX_MESSAGE_BYTES + 1), Loose)


def test_deep_nesting_is_a_bad_message_and_no_crash() -> None:
    with pytest.raises(BadMessage):
        decode(b"[" * 60_000, list)


@pytest.mark.parametrize("data", [b'{"name":"\xff"}', b'{"name":"\xed\xa0\x80"}', b"", b"null", b'{"name":1}'])
def test_malformed_bytes_are_a_bad_message(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(data, Loose)


def test_a_lone_surrogate_in_text_is_a_bad_message() -> None:
    with pytest.raises(BadMessage):
        decode('{"name":"\ud800"}', Loose)


@given(st.binary(max_size=300))
def test_any_bytes_become_a_value_or_a_bad_message(data: bytes) -> None:
    try:
        assert isinstance(decode(data, Loose), Loose)
    except BadMessage:
        pass


def test_an_unknown_field_is_ignored_in_a_record_and_refused_in_a_strict_one() -> None:
    data = b'{"name":"a","tomorrow":1}'
    assert decode(data, Loose).name == "a"
    with pytest.raises(BadMessage):
        decode(data, Tight)


def test_equal_values_are_equal_bytes() -> None:
    assert encode({"b": 1, "a": 2}) == encode({"a": 2, "b": 1})


def test_a_device_id_is_the_first_100_bits_of_the_keys_hash() -> None:
    digest = hashlib.sha256(b"key").digest()
    bits = bin(int.from_bytes(digest, "big"))[2:].zfill(256)[:100]
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    expected = "".join(alphabet[int(bits[i : i + 5], 2)] for i in range(0, 100, 5))
    assert ids.device_id(b"key").replace("-", "") == expected
    assert [len(group) for group in ids.device_id(b"key").split("-")] == [5, 5, 5, 5]


@pytest.mark.parametrize("spoil", [str.upper, lambda t: t.replace("-", ""), lambda t: f"  {t}\n"])
def test_a_device_id_is_read_however_it_was_typed(spoil) -> None:  # type: ignore[no-untyped-def]
    text = ids.device_id(b"key")
    assert ids.parse_device_id(spoil(text)) == text


@given(st.text(max_size=80))
def test_any_text_is_a_canonical_device_id_or_refused(text: str) -> None:
    try:
        parsed = ids.parse_device_id(text)
    except BadMessage:
        return
    assert ids.parse_device_id(parsed) == parsed and len(parsed) == 23


@pytest.mark.parametrize("text", ["", "a" * 51, "a" * 53, "A" * 52, "a" * 52 + "\n", "1" * 52])
def test_an_organisations_fingerprint_is_exact(text: str) -> None:
    with pytest.raises(BadMessage):
        ids.parse_organisation_id(text)


def test_other_ids_are_exact() -> None:
    session = ids.random_id(bytes(16))
    assert ids.parse_session_id(session) == session
    assert ids.parse_sha256(ids.sha256(b"")) == hashlib.sha256(b"").hexdigest()
    for bad in (session + "\n", session[:-1], "../" + session):
        with pytest.raises(BadMessage):
            ids.parse_session_id(bad)
    with pytest.raises(BadMessage):
        ids.parse_sha256("A" * 64)


@pytest.mark.parametrize("at", ["-1", "1" + "0" * 400, "9007199254740992", "1e400"])
def test_a_number_that_arithmetic_would_fail_at_is_refused_at_the_door(at: str) -> None:
    with pytest.raises(BadMessage):
        decode(b'{"online":true,"since_at":1,"last_seen_at":%s}' % at.encode(), Presence)
