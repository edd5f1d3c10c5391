"""Which rung is broken: one thing at a time goes wrong in a network where all is well."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectivity.dns_wire import AAAA, A, question, read_answer
from agent.connectivity.judge import judge
from agent.connectivity.observed import Gateway, NameServer, Observed, Proxy, Reached, Relay, Tls, Web
from agent.connectivity.probes.relay import read_date
from agent.connectivity.probes.web import judge_web
from protocol.errors import BadMessage
from protocol.sections.connectivity import RUNGS, Rung
from protocol.sections.network import Interface, Route

NOW = 1_800_000_000.0
RELAY = Relay(
    host="relay.example",
    port=443,
    is_name=True,
    resolved=("203.0.113.9",),
    found_at="203.0.113.9",
    reached=(Reached(address="203.0.113.9", family=4, outcome="open", ms=12.0),),
    tls=Tls(outcome="trusted"),
    small_ok=True,
    large_ok=True,
    status=200,
    date=NOW,
    asked_at=NOW + 1,
    rtts_ms=(12.0,) * 40,
)
HEALTHY = Observed(
    interfaces=(
        Interface(name="lo", kind="loopback", up=True, addresses=("127.0.0.1/8",)),
        Interface(name="eth0", kind="ethernet", up=True, addresses=("192.0.2.7/24", "fe80::1/64")),
    ),
    routes=(Route(family=4, gateway="192.0.2.1", interface="eth0"),),
    dns_servers=("192.0.2.1",),
    gateways=(Gateway(address="192.0.2.1", interface="eth0", answers=True, by="ping", rtt_ms=0.5),),
    name_servers=(
        NameServer(server="192.0.2.1", outcome="answered", addresses=("203.0.113.9",), ms=9.0, asks_others=True),
    ),
    web=Web(kind="closed"),
    relay=RELAY,
)
LOST = {"found_at": "", "small_ok": None, "large_ok": None, "tls": None, "rtts_ms": (), "date": None, "status": None}
SILENT = (Reached(address="203.0.113.9", family=4, outcome="silent"),)


def seen(relay: dict[str, Any] | None = None, **changes: Any) -> Observed:
    lost = msgspec.structs.replace(RELAY, **relay) if relay is not None else RELAY
    return msgspec.structs.replace(HEALTHY, relay=lost, **changes)


def verdict(observed: Observed) -> tuple[str, str]:
    found = judge(observed).verdict
    return (found.name, found.code) if found is not None else ("", "")


def test_a_healthy_network_has_no_verdict_and_its_figures() -> None:
    section = judge(HEALTHY)
    assert section.verdict is None
    assert [rung.name for rung in section.rungs] == list(RUNGS)
    assert (section.latency_ms, section.jitter_ms, section.loss_percent) == (12.0, 0.0, 0.0)


def dead_server(outcome: str = "silent") -> tuple[NameServer, ...]:
    return (NameServer(server="192.0.2.1", outcome=outcome),)  # type: ignore[arg-type]


DOWN = {**LOST, "resolved": (), "reached": ()}
REMEMBERED = {"resolved": (), "remembered": ("203.0.113.9",)}

BROKEN = {
    "link-down": seen(
        DOWN,
        interfaces=(msgspec.structs.replace(HEALTHY.interfaces[1], up=False, addresses=()),),
        routes=(),
        gateways=(),
        name_servers=(),
        web=None,
    ),
    "no-adapter": seen(DOWN, interfaces=HEALTHY.interfaces[:1], routes=(), gateways=(), name_servers=(), web=None),
    "no-address": seen(
        DOWN,
        interfaces=(msgspec.structs.replace(HEALTHY.interfaces[1], addresses=("fe80::1/64",)),),
        routes=(),
        gateways=(),
        name_servers=(),
        web=None,
    ),
    "address-self-assigned": seen(
        DOWN,
        interfaces=(msgspec.structs.replace(HEALTHY.interfaces[1], addresses=("169.254.7.7/16",)),),
        routes=(),
        gateways=(),
        name_servers=(),
        web=None,
    ),
    "no-gateway": seen(DOWN, routes=(), gateways=(), name_servers=dead_server()),
    "gateway-silent": seen(
        {**LOST, "reached": SILENT},
        gateways=(Gateway(address="192.0.2.1", interface="eth0", answers=False, by="neighbour"),),
        name_servers=dead_server(),
        web=Web(kind="silent"),
    ),
    "internet-down": seen(
        {**LOST, "reached": SILENT},
        name_servers=(NameServer(server="192.0.2.1", outcome="answered", addresses=("203.0.113.9",), ms=1.0),),
        web=Web(kind="silent"),
    ),
    "dns-silent": seen(REMEMBERED, name_servers=dead_server()),
    "dns-failing": seen(REMEMBERED, name_servers=dead_server("servfail")),
    "dns-refused": seen(REMEMBERED, name_servers=dead_server("refused")),
    "dns-wrong": seen(
        {"resolved": ("198.51.100.1",), "remembered": ("203.0.113.9",)},
        name_servers=(NameServer(server="192.0.2.1", outcome="answered", addresses=("198.51.100.1",), ms=1.0),),
    ),
    "dns-hijacked": seen(
        {**LOST, "resolved": ("198.51.100.1",), "reached": SILENT},
        name_servers=(
            NameServer(
                server="198.51.100.53",
                outcome="answered",
                addresses=("198.51.100.1",),
                invents=True,
                invented=("198.51.100.1",),
            ),
        ),
    ),
    "captive-portal": seen(
        {**LOST, "reached": SILENT}, web=Web(kind="portal", location="http://login.hotel/"), name_servers=()
    ),
    "proxy-needed": seen({**LOST, "reached": SILENT}, web=Web(kind="proxy_asks")),
    "proxy-credentials": seen(LOST, proxy=Proxy(url="http://p:3128", outcome="wants_credentials"), name_servers=()),
    "clock-wrong": seen({"date": NOW - 86_400}),
    "tls-intercepted": seen({**LOST, "tls": Tls(outcome="wrong_key", issuer="CN=Box"), "date": NOW, "asked_at": NOW}),
    "mtu-black-hole": seen(
        {**LOST, "tls": Tls(outcome="silent"), "small_ok": False, "large_ok": False, "clamped_ok": True}
    ),
    "relay-refuses": seen({**LOST, "reached": (Reached(address="203.0.113.9", family=4, outcome="refused"),)}),
    "loss-heavy": seen({"rtts_ms": (12.0,) * 20, "lost": 20}),
}


@pytest.mark.parametrize("code", BROKEN)
def test_one_fault_is_one_verdict(code: str) -> None:
    assert verdict(BROKEN[code])[1] == code


def test_above_a_broken_rung_nothing_else_is_accused() -> None:
    for observed in BROKEN.values():
        assert sum(rung.state == "fail" for rung in judge(observed).rungs) == 1


def test_what_the_router_s_own_server_remembers_proves_no_internet() -> None:
    assert verdict(BROKEN["internet-down"]) == ("internet", "internet-down")


def test_a_gateway_that_ignores_pings_is_not_accused_where_the_relay_is_there() -> None:
    gateways = (Gateway(address="192.0.2.1", interface="eth0", answers=False, by="neighbour"),)
    assert judge(seen(gateways=gateways)).verdict is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"lost": 3, "rtts_ms": (12.0,) * 37}, "loss"),
        ({"rtts_ms": (600.0,) * 40}, "latency-high"),
        ({"asked_at": NOW + 90}, "clock-off"),
    ],
)
def test_what_works_badly_is_a_warning(changes: dict[str, Any], code: str) -> None:
    found = judge(seen(changes)).verdict
    assert found is not None and (found.state, found.code) == ("warn", code)


def test_slow_names_are_told_unless_it_is_the_line_that_loses() -> None:
    slow = (NameServer(server="192.0.2.1", outcome="answered", addresses=("203.0.113.9",), ms=900.0),)
    assert verdict(seen(name_servers=slow)) == ("dns", "dns-slow")
    assert verdict(seen({"lost": 8, "rtts_ms": (12.0,) * 32}, name_servers=slow)) == ("relay", "loss")


def test_ipv6_that_is_broken_and_preferred_is_told() -> None:
    six = Reached(address="2001:db8::9", family=6, outcome="silent")
    routes = (*HEALTHY.routes, Route(family=6, gateway="fe80::1", interface="eth0"))
    assert verdict(seen({"reached": (six, *RELAY.reached)}, routes=routes)) == ("ipv6", "ipv6-broken")
    assert (
        judge(seen({"reached": (six, *RELAY.reached)})).verdict is None
    )  # without a way out by IPv6, nobody prefers it


@given(st.binary(max_size=600))
def test_no_answer_of_a_name_server_breaks_anything(data: bytes) -> None:
    try:
        answer = read_answer(data, A, 7)
    except BadMessage:
        return
    assert all(ipaddress.ip_address(address).version == 4 for address in answer.addresses)


def test_an_answer_is_read_as_it_was_recorded() -> None:
    """dig example.com, its header and one record; the name is a pointer."""
    asked = question("example.com", A, 0xABCD)
    assert asked.hex() == "abcd01000001000000000000076578616d706c6503636f6d0000010001"
    answered = (
        bytes.fromhex("abcd81800001000100000000") + asked[12:] + bytes.fromhex("c00c00010001000000ff0004cb007109")
    )
    assert read_answer(answered, A, 0xABCD).addresses == ("203.0.113.9",)
    assert read_answer(answered, AAAA, 0xABCD).addresses == ()
    with pytest.raises(BadMessage):
        read_answer(answered, A, 1)
    for length in range(len(answered)):
        with pytest.raises(BadMessage):
            read_answer(answered[:length], A, 0xABCD)


@pytest.mark.parametrize(
    ("status", "location", "kind"),
    [
        (301, "https://relay.example/", "as_expected"),
        (302, "/start", "as_expected"),
        (302, "http://login.hotel/?u=1", "portal"),
        (302, "https://[broken", "portal"),
        (200, "", "portal"),
        (404, "", "as_expected"),
        (407, "", "proxy_asks"),
        (511, "", "portal"),
    ],
)
def test_who_answers_on_port_80(status: int, location: str, kind: str) -> None:
    assert judge_web(status, location, "relay.example").kind == kind


def test_an_address_that_another_has_warns_while_the_internet_answers_and_fails_when_not() -> None:
    taken = msgspec.structs.replace(HEALTHY, duplicates=("192.0.2.4",))
    rung = next(rung for rung in judge(taken).rungs if rung.name == "address")
    assert (rung.state, rung.code) == ("warn", "address-duplicate")
    cut_off = seen({**LOST, "reached": SILENT}, name_servers=dead_server(), duplicates=("192.0.2.4",))
    assert verdict(cut_off) == ("address", "address-duplicate")


def test_dates_of_http() -> None:
    assert read_date("Thu, 01 Jan 1970 00:01:00 GMT") == 60.0
    assert [read_date(text) for text in ("", "yesterday", "Thu, 99 Foo 99999 00:00:00 GMT")] == [None] * 3


def test_a_rung_names_no_state_that_is_a_guess() -> None:
    nothing = judge(Observed())
    assert {rung.state for rung in nothing.rungs if rung.name != "adapter"} == {"unknown"}
    assert nothing.rungs[0] == Rung(name="adapter", state="fail", code="no-adapter")
