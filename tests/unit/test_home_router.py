"""What home routers say, recorded from real ones and made up by hostile ones, and what is made of it."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connectivity.judge import judge
from agent.connectivity.observed import Observed, Reached, Relay
from agent.connectivity.router_judge import judge_router
from agent.facts.parsers.igd import (
    MAX_RATE_BPS,
    MAX_UPTIME_S,
    Description,
    Fault,
    Service,
    external_address,
    parse_description,
    read_answer,
    with_connection,
    with_line,
)
from agent.facts.parsers.ssdp import GATEWAY, own_target, parse_reply, search
from agent.facts.parsers.upnp_xml import MAX_XML_BYTES, parse_xml
from agent.facts.steady import settle
from agent.findings.find import find
from agent.findings.known import Known
from console.views.table import print_section
from protocol.codec import encode
from protocol.errors import BadMessage
from protocol.sections.catalogue import decode_section
from protocol.sections.network import Interface, Route
from protocol.sections.router import Router
from tests.support.samples import sample, samples

AT = "192.168.1.1"
NOW = 1_700_000_000.0
WIRED = Interface(name="lan", kind="ethernet", up=True, addresses=("192.168.1.50/24",))

ANSWERS: dict[str, tuple[str, dict[str, str]]] = {
    "soap-GetExternalIPAddress.xml": ("GetExternalIPAddress", {"NewExternalIPAddress": "1.2.3.4"}),
    "soap-fritzbox-GetExternalIPAddress.xml": ("GetExternalIPAddress", {"NewExternalIPAddress": "203.0.113.71"}),
    "soap-fritzbox-GetStatusInfo.xml": (
        "GetStatusInfo",
        {"NewConnectionStatus": "Connected", "NewLastConnectionError": "ERROR_NONE", "NewUptime": "3574"},
    ),
    "soap-fritzbox-GetCommonLinkProperties.xml": (
        "GetCommonLinkProperties",
        {
            "NewWANAccessType": "DSL",
            "NewLayer1UpstreamMaxBitRate": "10044000",
            "NewLayer1DownstreamMaxBitRate": "51384000",
            "NewPhysicalLinkStatus": "Up",
        },
    ),
    "soap-fritzbox-GetAddonInfos.xml": ("GetAddonInfos", {"NewTotalBytesReceived": "0", "NewDNSServer1": "X.X.X.X"}),
    "igd-action_WANCIC_GetTotalBytesReceived.xml": ("GetTotalBytesReceived", {"NewTotalBytesReceived": "1337"}),
    "igd-action_WANCIC_GetTotalBytesReceived_i4.xml": (
        "GetTotalBytesReceived",
        {"NewTotalBytesReceived": "-531985522"},
    ),
    "soap-GetSpecificPortMappingEntryResp.xml": ("GetSpecificPortMappingEntry", {"NewInternalPort": "12345"}),
}
"""Answers to questions: which, and some of what they have to hold."""

DESCRIPTIONS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "igd-device.xml": (
        "Steven",
        "DummyRouter v1",
        [("WANCommonInterfaceConfig", "/WANCommonInterfaceConfig"), ("WANIPConnection", "/WANIPConnection")],
    ),
    "fritzbox-igddesc.xml": (
        "AVM Berlin",
        "FRITZ!Box 7590",
        [
            ("WANCommonInterfaceConfig", "/igdupnp/control/WANCommonIFC1"),
            ("WANIPConnection", "/igdupnp/control/WANIPConn1"),
        ],
    ),
    "linksys-wag200g-desc.xml": (
        "LINKSYS",
        "Wireless-G ADSL Home Gateway",
        [
            ("WANCommonInterfaceConfig", "/upnp/control/WANCommonIFC1"),
            ("WANPPPConnection", "/upnp/control/WANPPPConn1"),
        ],
    ),
}

NEITHER = {
    "fritzbox-devicehostlist.xml",
    "fritzbox-igdconnSCPD.xml",
    "igd-WANCommonInterfaceConfig.xml",
    "soap-DeletePortMapping.xml",
    "fritzbox-all_available_metrics_5690_pro_8.03.json",
    "fritzbox-all_available_metrics_7590_8.25.json",
    "xdslctl-info-stats-dlink-dsl-g225.txt",
    "cable-arris-cm3500b-status.html",
    "cable-arris-s33-status.html",
    "cable-arris-sb6141-signal.html",
    "cable-arris-sb6190-status.html",
    "cable-arris-sb8200-status.html",
    "cable-motorola-mb7621-connection.html",
    "cable-motorola-mb7621-log.html",
    "cable-netgear-c3700-docsis.htm",
    "cable-netgear-cm600-docsis.asp",
    "cable-technicolor-tc4400-status.html",
    "cable-virgin-superhub5-state.json",
}
"""What a router may answer with instead, be it a page for people: neither is taken for an answer."""

FAULT = "soap-fritzbox-fault-401-spaced.xml"


def test_every_recorded_file_has_its_case() -> None:
    there = {path.name for path in samples("gateway")}
    if not there:
        pytest.skip("no samples")
    known = {*ANSWERS, *DESCRIPTIONS, *NEITHER, FAULT}
    assert there <= known, f"without a case: {there - known}"


@pytest.mark.parametrize("name", ANSWERS)
def test_recorded_answers(name: str) -> None:
    action, expected = ANSWERS[name]
    found = read_answer(sample("gateway", name), action)
    assert {key: found.get(key) for key in expected} == expected
    with pytest.raises(BadMessage):
        read_answer(sample("gateway", name), "GetGenericPortMappingEntry")


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_recorded_descriptions(name: str) -> None:
    maker, model, services = DESCRIPTIONS[name]
    found = parse_description(sample("gateway", name), AT, 5000)
    assert (found.maker, found.model, found.is_gateway) == (maker, model, True)
    assert [(service.kind, service.path) for service in found.services] == services
    port = 49152 if "linksys" in name else 5000  # that one names its base
    assert {service.port for service in found.services} == {port}
    assert all(service.urn.endswith(f"service:{service.kind}:1") for service in found.services)


@pytest.mark.parametrize("name", sorted(NEITHER))
def test_recorded_things_that_are_no_answer(name: str) -> None:
    data = sample("gateway", name)
    for action in ("GetStatusInfo", "GetExternalIPAddress", "GetCommonLinkProperties"):
        with pytest.raises(BadMessage):
            read_answer(data, action)
    with pytest.raises(BadMessage):
        parse_description(data, AT, 80)


def test_a_refusal_has_its_number_also_with_spaces_around_it() -> None:
    with pytest.raises(Fault) as refused:
        read_answer(sample("gateway", FAULT), "GetStatusInfo")
    assert refused.value.number == 401


def recorded() -> Router:
    """A router of which everything was recorded."""

    def said(name: str) -> dict[str, str]:
        return read_answer(sample("gateway", name), ANSWERS[name][0])

    router = with_line(Router(address=AT, asked_by="igd"), said("soap-fritzbox-GetCommonLinkProperties.xml"))
    router = with_line(router, said("igd-action_WANCIC_GetTotalBytesReceived_i4.xml"))
    connection = said("soap-fritzbox-GetStatusInfo.xml") | said("soap-fritzbox-GetExternalIPAddress.xml")
    return with_connection(router, connection, NOW)


def test_a_router_as_it_was_recorded() -> None:
    router = recorded()
    assert router == Router(
        address=AT,
        asked_by="igd",
        wan="up",
        status="Connected",
        last_error="ERROR_NONE",
        connected_since_at=int(NOW) - 3574,
        link="up",
        access="DSL",
        down_bps=51_384_000,
        up_bps=10_044_000,
        external_address="203.0.113.71",
        external_kind="public",
        received=2**32 - 531_985_522,
    )
    assert decode_section("router", encode(router)) == router


def test_a_router_as_a_technician_sees_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_section(recorded())
    shown = capsys.readouterr().out
    for text in ("DSL up", "51.4 Mbit/s down, 10.0 Mbit/s up", "Connected", "203.0.113.71", "3.5 GiB received", "UPnP"):
        assert text in shown
    assert "ERROR_NONE" not in shown and "None" not in shown
    print_section(Router(asked_by="igd", external_address="192.168.0.2", external_kind="private"))
    assert "another router is in front" in capsys.readouterr().out
    print_section(Router(address=AT))
    assert "does not tell" in capsys.readouterr().out


# -- hostile ones -----------------------------------------------------------------------------------------------------


def plausible(router: Router) -> None:
    assert router.connected_since_at is None or NOW - MAX_UPTIME_S <= router.connected_since_at <= NOW
    for bps in (router.down_bps, router.up_bps):
        assert bps is None or 0 < bps <= MAX_RATE_BPS
    for count in (router.received, router.sent):
        assert count is None or 0 <= count < 2**63
    assert decode_section("router", encode(router)) == router


def digest(data: bytes) -> None:
    """Everything that is made of what a router sent."""
    with contextlib.suppress(BadMessage):
        for service in parse_description(data, AT, 80).services:
            assert 0 < service.port < 65536 and service.path.startswith("/") and service.path.isascii()
            assert service.path.isprintable() and " " not in service.path
    for action in {action for action, _ in ANSWERS.values()}:
        with contextlib.suppress(BadMessage):
            answer = read_answer(data, action)
            plausible(with_connection(with_line(Router(address=AT), answer), answer, NOW))
    parse_reply(data, AT)


@pytest.mark.parametrize("name", [*ANSWERS, *DESCRIPTIONS, FAULT])
def test_every_cut_of_a_recorded_file_is_nothing_or_plausible(name: str) -> None:
    data = sample("gateway", name)
    for end in range(0, len(data), max(1, len(data) // 200)):
        digest(data[:end])


@pytest.mark.parametrize("name", [*ANSWERS, *DESCRIPTIONS, FAULT])
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 12))
@settings(max_examples=60)
def test_a_damaged_recorded_file_is_nothing_or_plausible(name: str, seed: int, changes: int) -> None:
    luck = random.Random(seed)
    data = bytearray(sample("gateway", name))
    for _ in range(changes):
        at = luck.randrange(len(data))
        data[at : at + luck.randrange(4)] = luck.randbytes(luck.randrange(4)) or b"<"
    digest(bytes(data))


@given(st.binary(max_size=400))
def test_no_bytes_are_more_than_refused(data: bytes) -> None:
    digest(data)


WORDS = st.one_of(
    st.sampled_from(["Connected", "Up", "Down", "0", "-1", "4294967295", "9" * 40, "1e9", "::1%lo", "\u0663"]),
    st.integers(-(10**22), 10**22).map(str),
    st.text(max_size=40),
)


@given(st.dictionaries(st.sampled_from(sorted({key for _, keys in ANSWERS.values() for key in keys})), WORDS))
def test_whatever_the_values_are_the_section_is_plausible(answer: dict[str, str]) -> None:
    plausible(with_connection(with_line(Router(address=AT), answer), answer, NOW))


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;</a>'
THEFT = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        THEFT,
        '<!DOCTYPE a SYSTEM "http://192.168.1.7/x.dtd"><a/>',
        "<a>" * 30 + "</a>" * 30,
        "<a>" + "<b/>" * 6000 + "</a>",
        "<a>" + "x" * MAX_XML_BYTES + "</a>",
        "<a>&#0;</a>",
        "<a/><b/>",
        "",
        "\0\0",
        '<?xml version="1.0" encoding="utf-16"?><a>' + "\0",
    ],
)
def test_xml_that_could_hurt_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_xml(text.encode())


def test_xml_as_firmware_writes_it_is_read() -> None:
    head = b'\xef\xbb\xbf\r\n<?xml version="1.0" encoding="iso-8859-1"?><!-- hello -->'
    text = head + b"<a><b>Smith & Sons &lt;\xe4&gt; &nothing;</b></a>\0\n"
    assert parse_xml(text).text_of("b") == "Smith & Sons <\ufffd> &nothing;"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("/ctl/IPConn", (5000, "/ctl/IPConn")),
        ("ctl/IPConn", (5000, "/ctl/IPConn")),
        ("http://192.168.1.1:49000/x", (49000, "/x")),
        ("http://192.168.1.1", (80, "/")),
        ("//192.168.1.7/x", (5000, "/192.168.1.7/x")),
        ("http://192.168.1.7/x", None),
        ("http://192.168.1.1.example/x", None),
        ("http://192.168.1.1@192.168.1.7/x", None),
        ("http://192.168.1.1:0/x", None),
        ("http://192.168.1.1:70000/x", None),
        ("https://192.168.1.1/x", None),
        ("file:///etc/passwd", None),
        ("/x y", None),
        ("/x\r\nHost: a", None),
        ("/\u00e4", None),
        ("/" + "x" * 600, None),
        ("", None),
    ],
)
def test_only_the_gateway_itself_is_ever_asked(url: str, target: tuple[int, str] | None) -> None:
    assert own_target(url, AT, 5000) == target
    service = f"""<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
        <controlURL>{url}</controlURL></service>"""
    found = parse_description(f"<root><device>{service}</device></root>".encode(), AT, 5000).services
    assert [(service.port, service.path) for service in found] == ([target] if target else [])


def test_what_a_description_calls_a_service_does_not_reach_our_requests() -> None:
    for urn in ('urn:schemas-upnp-org:service:WANIPConnection:1"&gt;x', "urn:evil:service:WANIPConnection:1", ""):
        service = f"<service><serviceType>{urn}</serviceType><controlURL>/x</controlURL></service>"
        text = f"<root><device>{service}</device></root>"
        assert parse_description(text.encode(), AT, 80) == Description()


def test_replies_to_the_search() -> None:
    reply = b"HTTP/1.1 200 OK\r\nST: " + GATEWAY.encode() + b"\r\nLocation: http://%s/d.xml\r\n\r\n"
    found = parse_reply(reply % b"192.168.1.1:5000", AT)
    assert found is not None and (found.port, found.path, found.is_gateway) == (5000, "/d.xml", True)
    assert parse_reply(reply % b"192.168.1.7:5000", AT) is None
    assert parse_reply(reply.replace(b"200 OK", b"404 No"), AT) is None
    assert search(GATEWAY, AT).endswith(b"\r\n\r\n") and b"HOST: 192.168.1.1:1900" in search(GATEWAY, AT)


# -- what it means ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("203.0.113.71", ("203.0.113.71", "public")),
        (" 8.8.8.8 ", ("8.8.8.8", "public")),
        ("2001:db8::1", ("2001:db8::1", "public")),
        ("192.168.178.20", ("192.168.178.20", "private")),
        ("172.31.0.1", ("172.31.0.1", "private")),
        ("172.32.0.1", ("172.32.0.1", "public")),
        ("100.64.0.1", ("100.64.0.1", "shared")),
        ("100.128.0.1", ("100.128.0.1", "public")),
        ("0.0.0.0", ("", "none")),
        ("", ("", "none")),
        ("127.0.0.1", ("", "")),
        ("169.254.1.1", ("", "")),
        ("239.1.1.1", ("", "")),
        ("1.2.3", ("", "")),
        ("<b>", ("", "")),
    ],
)
def test_kinds_of_external_addresses(text: str, found: tuple[str, str]) -> None:
    assert external_address(text) == found


def router(**values: Any) -> Router:
    return Router(address=AT, asked_by="igd", **values)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (router(wan="down", status="Disconnected", link="up"), "router-wan-down"),
        (router(wan="down", status="Disconnected"), "router-wan-down"),
        (router(wan="down", link="down"), "router-link-down"),
        (router(wan="down", link="down", access="DSL"), "router-link-down"),
        (router(wan="down", link="down", access="Cable"), "router-wan-down"),
        (router(link="down"), "router-link-down"),
        (router(wan="connecting", link="up"), "router-connecting"),
        (router(wan="down", link="starting"), "router-connecting"),
        (router(wan="down", last_error="ERROR_AUTHENTICATION_FAILURE"), "router-auth-failed"),
        (router(wan="connecting", last_error="ERROR_AUTHENTICATION_FAILURE"), "router-auth-failed"),
        (router(wan="down", link="down", last_error="ERROR_AUTHENTICATION_FAILURE"), "router-link-down"),
        (router(wan="up", link="up", external_kind="none"), "router-no-address"),
    ],
)
def test_the_router_s_complaints_are_the_verdict_where_nothing_is_beyond(said: Router, code: str) -> None:
    rung = judge_router(said, is_beyond=False)
    assert (rung.state, rung.code) == ("fail", code)
    assert judge_router(said, is_beyond=True).state == "pass", "what works is not broken"


def test_a_router_that_is_content_or_silent_is_accused_of_nothing() -> None:
    assert judge_router(router(wan="up", link="up", external_kind="public"), is_beyond=False).state == "pass"
    assert judge_router(router(wan="up", last_error="ERROR_AUTHENTICATION_FAILURE"), is_beyond=False).state == "pass"
    assert judge_router(Router(address=AT), is_beyond=False).state == "unknown"
    assert judge_router(None, is_beyond=True).state == "unknown"
    assert judge_router(router(), is_beyond=False).state == "unknown"


def test_the_router_explains_better_than_internet_down() -> None:
    relay = Relay(
        host="relay.example",
        port=443,
        is_name=False,
        reached=(Reached(address="203.0.113.9", family=4, outcome="silent"),),
    )
    seen = Observed(interfaces=(WIRED,), routes=(Route(family=4, gateway=AT, interface="lan"),), relay=relay)
    verdict = judge(seen).verdict
    assert verdict is not None and verdict.code == "internet-down"
    seen = msgspec.structs.replace(seen, router=router(wan="down", status="Disconnected"))
    verdict = judge(seen).verdict
    assert verdict is not None and (verdict.name, verdict.code) == ("router", "router-wan-down")


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (router(external_kind="private", external_address="192.168.0.2"), {"double-nat"}),
        (router(external_kind="shared", external_address="100.64.9.9"), {"cgnat"}),
        (router(external_kind="public", external_address="203.0.113.71"), set()),
        (router(wan="up", connected_since_at=int(NOW) - 120), {"router-restarted-recently"}),
        (router(wan="up", connected_since_at=int(NOW) - 3600), set()),
        (router(wan="up", connected_since_at=int(NOW) + 3600), set()),
        (router(down_bps=1_000_000, access="DSL"), {"wan-rates-low"}),
        (router(down_bps=1_000_000, access="Ethernet"), set()),
        (router(down_bps=51_384_000, access="DSL"), set()),
        (Router(), set()),
    ],
)
def test_what_is_worth_knowing_of_a_router_is_no_illness(said: Router, codes: set[str]) -> None:
    found = find(Known({"router": said}, NOW)).findings
    assert {finding.code for finding in found} == codes
    assert {finding.severity for finding in found} <= {"info"}


def test_of_two_connections_the_one_that_is_in_use_tells() -> None:
    idle = {"NewConnectionStatus": "Unconfigured", "NewExternalIPAddress": "0.0.0.0"}
    used = {"NewConnectionStatus": "Connected", "NewExternalIPAddress": "203.0.113.71", "NewUptime": "60"}
    both = with_connection(with_connection(Router(), used, NOW), idle, NOW)
    assert both == with_connection(with_connection(Router(), idle, NOW), used, NOW)
    assert both.external_address == "203.0.113.71" and both.wan == "up"


def test_a_router_at_rest_says_nothing_new() -> None:
    before = settle(None, router(connected_since_at=1000, received=5 * 2**30, sent=10))
    after = settle(before, router(connected_since_at=1003, received=5 * 2**30 + 2**28, sent=999_999))
    assert after == before
    assert settle(before, router(connected_since_at=5000, received=5 * 2**30, sent=10)) != before


def test_a_service_knows_whether_it_is_a_connection() -> None:
    assert Service("", "WANPPPConnection", 80, "/").is_connection
    assert not Service("", "WANCommonInterfaceConfig", 80, "/").is_connection
