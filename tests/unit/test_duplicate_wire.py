"""Probes for an address, and who answers them."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from agent.connectivity.duplicate_wire import holder_of, mac_bytes, mac_text, probe, refused_ipv6

OWN, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
ADDRESS = ipaddress.IPv4Address("192.0.2.4")

IF_INET6 = """\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000000000000000000004 02 40 00 88     eth0
garbage
"""


def reply(mac: bytes, address: ipaddress.IPv4Address) -> bytes:
    return OWN + mac + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02" + mac + address.packed + OWN + bytes(4) + bytes(18)


def test_a_probe_claims_nothing() -> None:
    frame = probe(OWN, ADDRESS)
    assert frame[:6] == b"\xff" * 6 and frame[28:32] == bytes(4), "no table takes anything from it"
    assert holder_of(frame, ADDRESS) == ""


def test_only_an_answer_for_the_address_names_its_holder() -> None:
    assert holder_of(reply(OTHER, ADDRESS), ADDRESS) == "02:00:00:00:00:02"
    assert holder_of(reply(OTHER, ADDRESS + 1), ADDRESS) == ""


@given(st.binary(max_size=80))
def test_no_frame_is_more_than_passed_over(frame: bytes) -> None:
    assert holder_of(frame, ADDRESS) == ""


def test_hardware_addresses() -> None:
    assert mac_bytes(mac_text(OWN)) == OWN
    assert [mac_bytes(text) for text in ("", "02:00", "zz:00:00:00:00:00", "00" * 20)] == [b""] * 4


def test_linux_tells_which_ipv6_addresses_others_have() -> None:
    assert refused_ipv6(IF_INET6) == ("2001:db8::4",)
    assert refused_ipv6("") == ()
