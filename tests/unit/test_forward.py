"""Targets of forwards: how they are written, what they permit, and what no policy opens."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import UsageInvalid
from protocol.forward import asked_host, could_permit, forbidden, parse_target, permits


def allowed(targets: list[str], host: str, port: int, address: str) -> bool:
    parsed = [parse_target(text) for text in targets]
    asked = asked_host(host)
    permitted = permits(parsed, asked, port, ipaddress.ip_address(address))
    assert not permitted or could_permit(parsed, asked, port)  # what is resolved is never less than what is permitted
    return permitted


CASES = [
    (["gateway:80"], "gateway", 80, "192.168.1.1", True),
    (["gateway:80"], "gateway", 443, "192.168.1.1", False),
    (["gateway:80"], "192.168.1.1", 80, "192.168.1.1", False),
    (["localhost:*"], "localhost", 5900, "127.0.0.1", True),
    (["localhost:*"], "127.0.0.1", 5900, "127.0.0.1", True),
    (["localhost:*"], "::1", 5900, "::1", True),
    (["localhost:*"], "::ffff:127.0.0.1", 22, "::ffff:127.0.0.1", True),
    (["localhost:*"], "evil.example.org", 5900, "127.0.0.1", False),
    (["localhost:*"], "localhost", 80, "192.168.1.1", False),
    (["printer.lan:9100"], "Printer.LAN.", 9100, "10.0.0.9", True),
    (["printer.lan:9100"], "printer.lan", 9100, "127.0.0.1", False),
    (["*.corp.example:443"], "wiki.corp.example", 443, "10.1.1.1", True),
    (["*.corp.example:443"], "corp.example", 443, "10.1.1.1", False),
    (["*.corp.example:443"], "wiki.corp.example.evil", 443, "10.1.1.1", False),
    (["10.0.0.0/8:8000-8099"], "10.2.3.4", 8050, "10.2.3.4", True),
    (["10.0.0.0/8:8000-8099"], "10.2.3.4", 8100, "10.2.3.4", False),
    (["10.0.0.0/8:*"], "intranet", 80, "10.2.3.4", True),
    (["10.0.0.0/8:*"], "intranet", 80, "11.2.3.4", False),
    (["10.0.0.0/8:*"], "::ffff:10.1.1.1", 80, "::ffff:10.1.1.1", True),
    (["[fd00::/8]:22"], "fd00::5", 22, "fd00::5", True),
    (["[fd00::/8]:22"], "10.0.0.1", 22, "10.0.0.1", False),
    (["192.168.1.1:80"], "192.168.1.1", 80, "192.168.1.1", True),
    (["*:80"], "anything.example", 80, "127.0.0.1", True),
    (["*:80"], "anything.example", 81, "127.0.0.1", False),
    ([], "localhost", 80, "127.0.0.1", False),
]


@pytest.mark.parametrize(("targets", "host", "port", "address", "expected"), CASES)
def test_a_target_permits_a_host_a_port_and_the_address_behind_them(
    targets: list[str], host: str, port: int, address: str, expected: bool
) -> None:
    assert allowed(targets, host, port, address) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        ":80",
        "host:0",
        "host:65536",
        "host:9-1",
        "host:80-",
        "host:\uff18\uff10",
        "fd00::1:80",
        "a b:80",
        "*.*:80",
        "ho*st:80",
        "http://host:80",
        "host:80/path",
        "10.0.0.0/33:80",
        "-x:80",
        "host:+80",
        "/run/socket:1",
    ],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(UsageInvalid):
        parse_target(text)


@pytest.mark.parametrize(
    "host", ["", "a b", "x" * 254, "fe80::1%eth0", "/run/x.sock", "a\0b", "..", "ñandu", "http://x"]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(UsageInvalid):
        asked_host(host)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "169.254.1.1",
        "fe80::1",
    ],
)
def test_no_policy_opens_metadata_link_local_or_no_single_host(address: str) -> None:
    assert forbidden(ipaddress.ip_address(address), is_gateway=False)


def test_a_gateway_may_be_link_local_by_ipv6_only() -> None:
    assert forbidden(ipaddress.ip_address("fe80::1"), is_gateway=True) is None
    assert forbidden(ipaddress.ip_address("169.254.1.1"), is_gateway=True)
    assert forbidden(ipaddress.ip_address("169.254.169.254"), is_gateway=True)
    assert forbidden(ipaddress.ip_address("192.168.1.1"), is_gateway=False) is None


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_written_there_is_one_error(target: str, host: str) -> None:
    for read in (lambda: parse_target(target), lambda: asked_host(host)):
        try:
            read()
        except UsageInvalid:
            continue
