"""Every recorded answer of a mobile-broadband modem or of a tool that speaks with one, and what we make of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.at import parse_at
from agent.facts.parsers.mmcli import parse_mmcli_bearer, parse_mmcli_modem, parse_mmcli_signal, parse_paths
from agent.facts.parsers.netsh_mbn import parse_netsh_mbn
from agent.facts.parsers.qmi import parse_mbimcli, parse_qmicli, parse_uqmi
from protocol.codec import encode
from protocol.sections.catalogue import decode_section
from protocol.sections.modem import Bearer, Modem, Modems
from tests.support.samples import sample, samples

Reader = Callable[[str], Any]


def web_answer(text: str) -> Modem:
    """An AT transcript inside the JSON of a router's page."""
    return parse_at(json.loads(text)["response"])


def one_netsh(text: str) -> Modem:
    [modem] = parse_netsh_mbn(text)
    return modem


HOME = {"registration": "home", "roaming": False, "state": "registered"}
NOTHING: dict[str, object] = {}
"""Not a word of what is asked here: telephony's menus (USSD) and message stores are for people, and asking costs."""

INDEX: dict[str, tuple[Reader, dict[str, object]]] = {
    "at-baiwang-qdc507-qcsq-qeng.txt": (
        parse_at,
        {"technology": "lte", "rssi_dbm": -85, "rsrp_dbm": -124, "rsrq_db": -18, "snr_db": -9, "band": "B66"}
        | {"operator_code": "302220", "signal_word": "none"},
    ),
    "at-dell-dw5821e-debug.txt": (
        parse_at,
        {"operator_code": "45202", "band": "B3", "rsrp_dbm": -84, "rsrq_db": -11, "rssi_dbm": -53, "snr_db": 3}
        | {"state": "registered", "registration": "", "signal_word": "fair"},
    ),
    "at-fibocom-fm350-lte-ca.txt": (
        parse_at,
        {"technology": "lte", "operator_code": "25002", "band": "B3", "rsrp_dbm": -108, "rsrq_db": -12},
    ),
    "at-fibocom-fm350-lte.txt": (
        parse_at,
        {"model": "FM350-GL", "manufacturer": "Fibocom Wireless Inc.", "firmware": "81600.0000.00.29.22.40"}
        | {"operator_code": "25001", "rssi_dbm": -95, "rsrp_dbm": -102, "rsrq_db": -16, "snr_db": None}
        | HOME,
    ),
    "at-fibocom-l850-product.txt": (
        parse_at,
        {"manufacturer": "Fibocom", "model": "L850 LTE Module", "firmware": "18500.5001.00.05.27.16", "state": ""},
    ),
    "at-fibocom-lte-vodafone-de.txt": (
        parse_at,
        {"operator": "vodafone.de", "operator_code": "26202", "rssi_dbm": -71, "rsrp_dbm": -99, "rsrq_db": -7}
        | {"band": "B20", "lock": "", "registration": ""},
    ),
    "at-marvell-cesq-csq99.txt": (
        parse_at,
        {"rssi_dbm": None, "operator_code": "25001", "technology": "lte", "failed_reason": ""} | HOME,
    ),
    "at-quectel-basic-spusu.txt": (
        parse_at,
        {"operator": "spusu spusu", "operator_code": "22288", "rssi_dbm": -57, "lock": "", "technology": "lte"} | HOME,
    ),
    "at-quectel-c5greg-sa.txt": (parse_at, {"technology": "5gnr"} | HOME),
    "at-quectel-ep06-servingcell-crlf.txt": (
        parse_at,
        {"operator_code": "310260", "rsrp_dbm": -104, "rsrq_db": -11, "rssi_dbm": -78, "snr_db": 12, "band": "B12"},
    ),
    "at-quectel-nr5g-nsa-servingcell.txt": (
        parse_at,
        {"technology": "lte+5gnr", "operator": "SUN", "operator_code": "51503", "rsrp_dbm": -89, "snr_db": 16}
        | {"band": "B1"},
    ),
    "at-quectel-nr5g-sa-servingcell-tmobile.txt": (
        parse_at,
        {"technology": "5gnr", "operator": "T-Mobile", "rsrp_dbm": -104, "rsrq_db": -13, "snr_db": 11, "band": "n71"}
        | {"signal_kind": "ss-rsrp", "signal_word": "weak"},
    ),
    "at-quectel-rm551e-qcainfo-missing-newline.json": (web_answer, {"band": "n41", "rsrp_dbm": None}),
    "at-sierra-gstatus-idle.txt": (
        parse_at,
        {"technology": "lte", "band": "B8", "rsrp_dbm": -110, "rssi_dbm": -84, "rsrq_db": -13, "snr_db": 1}
        | {"state": "registered", "registration": "", "power": "on"},
    ),
    "gammu-at-cpms-brovi-e3372-325.txt": (parse_at, NOTHING),
    "gammu-at-creg-corner-empty-lac.txt": (parse_at, HOME),
    "gammu-at-creg-corner-single-quote.txt": (parse_at, HOME),
    "gammu-at-creg-empty.txt": (parse_at, NOTHING),
    "gammu-at-creg-huawei.txt": (parse_at, HOME | {"technology": ""}),
    "gammu-at-creg-sierra312u.txt": (
        parse_at,
        {"registration": "roaming", "roaming": True, "technology": "umts", "state": "registered"},
    ),
    "gammu-at-creg-telit.txt": (parse_at, HOME | {"technology": "umts"}),
    "gammu-at-model-01.txt": (parse_at, {"model": "MULTIBAND 900E 1800"}),
    "gammu-at-model-02.txt": (parse_at, {"model": "Nokia 5210"}),
    "gammu-at-model-04.txt": (parse_at, {"model": ("0123456789" * 7)[:64]}),
    "gammu-at-model-05.txt": (
        parse_at,
        {"manufacturer": "SAMSUNG ELECTRONICS CO., LTD.", "model": "SCH-U706/99", "firmware": "u706 , ver : BC04.1"},
    ),
    "gammu-at-ussd-01-E160.txt": (parse_at, NOTHING),
    "gammu-at-ussd-02-E160.txt": (parse_at, NOTHING),
    "gammu-at-ussd-04-unknown.txt": (parse_at, NOTHING),
    "gammu-at-ussd-Uissue358-Quectel_M35.txt": (parse_at, NOTHING),
    "gammu-at-ussd-issue178-dell.txt": (parse_at, NOTHING),
    "gammu-at-ussd-issue377-HE910-D.txt": (parse_at, NOTHING),
    "mbim-network-start-sierra-340u.txt": (
        parse_mbimcli,
        {"operator": "AT&T", "operator_code": "310410", "technology": "lte", "failed_reason": "", "lock": ""} | HOME,
    ),
    "mmcli-J-modem-hspa.json": (
        parse_mmcli_modem,
        {"name": "cdc-wdm0", "manufacturer": "Quectel", "model": "EM12-G", "state": "connected", "apn": "APN.WAP"}
        | {"operator": "OperatorName", "operator_code": "", "technology": "hsupa", "signal_percent": 29, "lock": ""}
        | {"registration": "home", "power": "on", "failed_reason": ""},
    ),
    "mmcli-J-signal-lte.json": (
        parse_mmcli_signal,
        {"rssi_dbm": -64, "rsrp_dbm": -92, "rsrq_db": -9, "snr_db": 19, "signal_word": "excellent"},
    ),
    "mmcli-K-ec25-bearer-connected.txt": (
        parse_mmcli_bearer,
        {"connected": True, "apn": "ereseller", "interface": "wwan0", "ip_type": "ipv4v6", "roaming_allowed": True},
    ),
    "mmcli-K-ec25-bearer-initial.txt": (
        parse_mmcli_bearer,
        {"connected": False, "apn": "nxtgenphone", "interface": "", "roaming_allowed": None},
    ),
    "mmcli-K-ec25-modem-list.txt": (parse_paths, {"": ("0",)}),
    "mmcli-K-ec25-modem.txt": (
        parse_mmcli_modem,
        {"state": "connected", "operator": "Dark Star", "operator_code": "310410", "technology": "lte"}
        | {"signal_percent": 29, "model": "EC25", "registration": "home", "failed_reason": ""},
    ),
    "mmcli-L-two-modems.txt": (parse_paths, {"": ("1", "0")}),
    "mmcli-b-quectel-rm530n-bearer.txt": (
        parse_mmcli_bearer,
        {"connected": True, "apn": "wap.vodafone.co.uk", "interface": "wwu1u4i4", "rx_bytes": 432453378}
        | {"tx_bytes": 898786, "roaming_allowed": True},
    ),
    "mmcli-m-fibocom-l850-sim-missing.txt": (
        parse_mmcli_modem,
        {"state": "failed", "failed_reason": "sim-missing", "power": "low", "model": "L850 LTE Module L850"},
    ),
    "mmcli-m-sierra-em7455-connected.txt": (
        parse_mmcli_modem,
        {"state": "connected", "lock": "sim-pin2", "unlock_tries": 3, "signal_percent": 41, "technology": "lte"}
        | {"operator": "Airtel TZ", "operator_code": "64005", "registration": "home", "model": "EM7455"},
    ),
    "mmcli-m-simcom-sim7100e-old-quoted.txt": (
        parse_mmcli_modem,
        {"state": "connected", "lock": "", "signal_percent": 58, "operator": "TDC TDC", "operator_code": "23801"}
        | {"technology": "", "name": "ttyUSB7", "registration": "home"},
    ),
    "netsh-mbn-show-interfaces-en-sdx55.txt": (
        one_netsh,
        {"name": "Cellular", "state": "connected", "rssi_dbm": -83, "signal_percent": 48, "roaming": False}
        | {"operator": "", "operator_code": "822722", "manufacturer": "Qualcomm"},
    ),
    "qmicli-cell-location-info-rm530n.txt": (
        parse_qmicli,
        {"technology": "lte", "rsrp_dbm": -93, "rsrq_db": -12, "rssi_dbm": -61, "registration": ""},
    ),
    "qmicli-serving-system-rm530n.txt": (
        parse_qmicli,
        {"operator": "voda UK", "operator_code": "23415", "technology": "lte"} | HOME,
    ),
    "qmicli-signal-strength-lte-and-evdo.txt": (
        parse_qmicli,
        {"technology": "lte", "rssi_dbm": -81, "rsrp_dbm": -115, "rsrq_db": -16, "snr_db": -4, "signal_word": "none"},
    ),
    "qmicli-signal-strength-sim7600.txt": (
        parse_qmicli,
        {"technology": "lte", "rssi_dbm": -61, "rsrp_dbm": -90, "rsrq_db": -16, "snr_db": 3},
    ),
    "uqmi-get-signal-info-lte.json": (
        parse_uqmi,
        {"technology": "lte", "rssi_dbm": -67, "rsrp_dbm": -90, "rsrq_db": -10, "snr_db": 25},
    ),
    "uqmi-get-system-info-rm520n.json": (parse_uqmi, {"technology": "lte", "operator_code": "26003"} | HOME),
}


def text_of(name: str) -> str:
    return sample("cellular", name).decode("utf-8", "replace")


def test_every_recorded_file_has_its_case() -> None:
    found = {path.name for path in samples("cellular")}
    if not found:
        pytest.skip("no samples here")
    assert found == set(INDEX)


@pytest.mark.parametrize("name", INDEX)
def test_what_is_read_is_what_was_recorded(name: str) -> None:
    reader, expected = INDEX[name]
    read = reader(text_of(name))
    if isinstance(read, tuple):
        assert read == expected[""]
        return
    assert {key: getattr(read, key) for key in expected} == expected
    if expected is NOTHING:
        assert read == Modem(by="at")


def plausible(read: object) -> None:
    """It can be sent, comes back as it was, and names nobody's card or telephone."""
    modems = read if isinstance(read, tuple) else (read,)
    section = Modems(
        modems=tuple(
            Modem(bearers=(one,)) if isinstance(one, Bearer) else one for one in modems if not isinstance(one, str)
        )
    )
    assert decode_section("modem", encode(section)) == section
    for modem in section.modems:
        assert modem.signal_dbm is None or -160 <= modem.signal_dbm < 0
        assert len(modem.model) <= 64 and len(modem.operator) <= 64


@pytest.mark.parametrize("name", INDEX)
def test_a_recorded_file_that_is_cut_anywhere_or_changed_is_no_failure_and_no_absurd_value(name: str) -> None:
    reader, _ = INDEX[name]
    if reader is web_answer:
        reader = parse_at
    if reader is one_netsh:
        reader = parse_netsh_mbn
    text = text_of(name)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, len(text)), st.integers(0, len(text)), st.text(max_size=12))
    def changed(start: int, end: int, between: str) -> None:
        plausible(reader(text[:start]))
        plausible(reader(text[:start] + between + text[end:]))
        plausible(reader(text.replace("1", str(10**30) if "-" in between else "-32768")))

    changed()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_text_at_all_is_read_as_little_as_it_says(text: str) -> None:
    for reader in (parse_at, parse_mmcli_modem, parse_mmcli_bearer, parse_mmcli_signal, parse_netsh_mbn):
        plausible(reader(text))
    for reader in (parse_qmicli, parse_uqmi, parse_mbimcli):
        plausible(reader(text))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("+CPIN: SIM PIN", {"lock": "sim-pin", "state": "locked"}),
        ("+CPIN: SIM PUK", {"lock": "sim-puk", "state": "locked"}),
        ("+CPIN: PH-NET PIN", {"lock": "ph-net-pin", "state": "locked"}),
        ("+CPIN: READY", {"lock": "", "state": ""}),
        ("+CME ERROR: 10", {"failed_reason": "sim-missing", "state": "failed"}),
        ("+CME ERROR: SIM not inserted", {"failed_reason": "sim-missing", "state": "failed"}),
        ("+CME ERROR: 13", {"failed_reason": "sim-error"}),
        ("+CME ERROR: SIM wrong", {"failed_reason": "sim-error"}),
        ("+CREG: 0,3\r\n+CEREG: 0,2", {"registration": "denied", "roaming": None}),
        ("+CREG: 0,2\r\n+CEREG: 0,0", {"registration": "searching", "state": "searching"}),
        ("+CREG: 0,1\r\n+CEREG: 0,5", {"registration": "roaming"}),
        ("+CEREG: 5", {"registration": "roaming", "roaming": True}),
        ("+CESQ: 99,99,255,255,20,50", {"rsrq_db": -10, "rsrp_dbm": -91}),
        ("+CESQ: 99,99,255,255,255,255,60,80,90", {"rsrp_dbm": -77, "snr_db": 22}),
        ("+CESQ: 30,99,255,255,255,255", {"rssi_dbm": -81, "rsrp_dbm": None}),
        ('+CGDCONT: 1,"IP","internet","",0,0', {"apn": "internet"}),
        ("+CFUN: 4", {"power": "low", "state": "disabled"}),
        ("^SYSINFO: 2,3,1,17,1", {"roaming": True}),
        ("^SYSINFO: 0,0,0,0,255", {"failed_reason": "sim-missing"}),
        ('+COPS: (2,"A","A","21401",7),(1,"B","B","21403",7)', {"operator": ""}),
    ],
)
def test_the_answers_that_matter_most_are_understood(answer: str, expected: dict[str, object]) -> None:
    read = parse_at(answer)
    assert {key: getattr(read, key) for key in expected} == expected
