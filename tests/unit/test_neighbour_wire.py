"""The kernel's table of neighbours, read part by part."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from agent.connectivity.neighbour_wire import FAILED, REACHABLE, ask_for_all, read_answer


def entry(address: bytes, interface: int, state: int) -> bytes:
    attribute = struct.pack("=HH", 4 + len(address), 1) + address
    body = struct.pack("=BBHiHBB", 2, 0, 0, interface, state, 0, 1) + attribute
    return struct.pack("=IHHII", 16 + len(body), 28, 2, 1, 0) + body


DONE = struct.pack("=IHHIIi", 20, 3, 2, 1, 0, 0)


def test_who_is_there_and_who_is_not() -> None:
    answer = entry(b"\xc0\x00\x02\x01", 3, REACHABLE) + entry(b"\xfe\x80" + bytes(13) + b"\x01", 4, FAILED)
    known = {("192.0.2.1", 3): REACHABLE, ("fe80::1", 4): FAILED}
    assert read_answer(answer) == (known, False)
    assert read_answer(answer + DONE) == (known, True)


def test_a_request_is_as_long_as_it_says() -> None:
    request = ask_for_all(2)
    assert struct.unpack_from("=I", request) == (len(request),)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise_or_run_on(answer: bytes) -> None:
    found, _ = read_answer(answer)
    assert len(found) <= len(answer) // 28


@given(st.integers(0, 80), st.binary(min_size=1, max_size=4))
def test_a_damaged_part_costs_no_more_than_itself(at: int, damage: bytes) -> None:
    whole = bytearray(entry(b"\xc0\x00\x02\x01", 3, REACHABLE) + entry(b"\xc0\x00\x02\x02", 3, REACHABLE) + DONE)
    whole[at : at + len(damage)] = damage
    found, _ = read_answer(bytes(whole))
    assert len(found) <= 2
