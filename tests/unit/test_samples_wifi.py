"""Every recorded answer of a tool that knows of Wi-Fi, in several languages, and what we make of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.iw import (
    parse_iw_dev,
    parse_iw_link,
    parse_iw_scan,
    parse_iwconfig,
    parse_proc_wireless,
    parse_supplicant_log,
    security_in_scan,
)
from agent.facts.parsers.mac_wifi import parse_airport, parse_heard, parse_system_profiler, parse_wdutil
from agent.facts.parsers.netsh_wlan import parse_netsh_interfaces, parse_netsh_networks, radio_off_in
from agent.facts.parsers.wifi_on_dbus import parse_nmcli_devices, parse_nmcli_general
from agent.facts.parsers.wireless import Seen, place_of, with_neighbours
from protocol.codec import encode
from protocol.sections.catalogue import decode_section
from protocol.sections.wifi import Wifi, WifiInterface
from tests.support.samples import sample, samples

Reader = Callable[[str], Any]

CONNECTED = {"state": "connected"}
INDEX: dict[str, tuple[Reader, list[dict[str, object]] | int]] = {
    "airport-I-10.14.txt": (
        parse_airport,
        [
            {"ssid": "SnazzleDazzle", "band": "5", "channel": 48, "width_mhz": 80, "signal_dbm": -66}
            | {"noise_dbm": -90, "rate_mbps": 195, "security": "wpa2-personal", "signal_word": "good"}
            | CONNECTED
        ],
    ),
    "glpi-iwconfig-1.txt": (parse_iwconfig, [{"name": "wlan0", "state": "disconnected", "ssid": ""}]),
    "iw-scan-1.txt": (parse_iw_scan, 26),
    "iwconfig-many.txt": (
        parse_iwconfig,
        [
            {"name": "wlp5s0", "ssid": "BLABLABLA", "channel": 36, "band": "5", "signal_dbm": -52, "rate_mbps": 6},
            {"name": "wlp5s02", "ssid": "BLABLABLA2", "channel": 36, "signal_dbm": -53} | CONNECTED,
        ],
    ),
    "iwconfig-space-dash-ssid.txt": (
        parse_iwconfig,
        [{"name": "wlp-50", "ssid": "BLABLABLA-bla bla bla", "signal_word": "excellent"} | CONNECTED],
    ),
    "linux-info-output.txt": (
        parse_iw_dev,
        [{"name": "wlan0", "channel": 36, "band": "5", "width_mhz": 80, "ssid": "", "state": ""}],
    ),
    "linux-iw-dev-wlp1s0-info.txt": (parse_iw_dev, [{"name": "wlp1s0", "ssid": "HBTL", "channel": None} | CONNECTED]),
    "linux-iw-dev-wlp1s0-link.txt": (
        parse_iw_link,
        [
            {"name": "wlp1s0", "ssid": "SSID-1", "band": "2.4", "channel": 1, "signal_dbm": -51, "rate_mbps": 26}
            | CONNECTED
        ],
    ),
    "mac-sp_10.15.7.json": (
        parse_system_profiler,
        [
            {"name": "en1", "ssid": "SSID-6", "channel": 6, "signal_dbm": -55, "noise_dbm": -98, "rate_mbps": 145}
            | {"security": "open", "band": "2.4", "width_mhz": None}
            | CONNECTED
        ],
    ),
    "mac-sp_12.7.2-no-AP.json": (parse_system_profiler, [{"name": "en0", "state": "disconnected", "ssid": ""}]),
    "mac-sp_15.5-wifi-disabled.json": (parse_system_profiler, [{"name": "en0", "state": "off"}]),
    "mac-sp_15.5-wpa2-en.json": (
        parse_system_profiler,
        [{"name": "en0", "ssid": "SSID-7", "width_mhz": 20, "security": "wpa2-personal", "signal_dbm": -58}],
    ),
    "mac-sp_15.5.json": (parse_system_profiler, [{"name": "en0", "ssid": "SSID-2", "security": "open"} | CONNECTED]),
    "mac-wdutil-output.txt": (
        parse_wdutil,
        [
            {"name": "en0", "ssid": "", "band": "2.4", "channel": 11, "width_mhz": 20, "signal_dbm": -63}
            | {"noise_dbm": -97, "rate_mbps": 162, "security": "open"}
            | CONNECTED
        ],
    ),
    "macOS12-wdutil-5GHz-en.txt": (
        parse_wdutil,
        [
            {"name": "en1", "ssid": "SomeSSID-5", "band": "5", "channel": 144, "width_mhz": 40, "signal_dbm": -61}
            | {"security": "wpa2-personal", "rate_mbps": 324}
            | CONNECTED
        ],
    ),
    "nmcli-device-show.txt": (parse_nmcli_devices, []),
    "nmcli-general-all.txt": (parse_nmcli_general, [{"STATE": "connected", "WIFI-HW": "enabled", "WIFI": "enabled"}]),
    "win-netsh-interfaces-de.txt": (
        parse_netsh_interfaces,
        [
            {"name": "WLAN", "ssid": "SSID-1", "band": "5", "channel": 116, "security": "wpa2-enterprise"}
            | {"signal_percent": 43, "signal_dbm": -79, "rx_rate_mbps": 300, "rate_mbps": 300}
            | CONNECTED
        ],
    ),
    "win-netsh-interfaces-en.txt": (
        parse_netsh_interfaces,
        [
            {"name": "Wi-Fi", "ssid": "SSID-1", "band": "5", "channel": 44, "security": "wpa2-personal"}
            | {"signal_percent": 42, "rate_mbps": 103}
            | CONNECTED
        ],
    ),
    "win-netsh-interfaces-es.txt": (
        parse_netsh_interfaces,
        [
            {"name": "Wi-Fi", "ssid": "SSID-1", "band": "2.4", "channel": 11, "security": "open", "rate_mbps": 206}
            | {"signal_percent": 81, "signal_dbm": -60, "rx_rate_mbps": 69}
            | CONNECTED
        ],
    ),
    "win-netsh-networks-de.txt": (parse_netsh_networks, 9),
    "win-netsh-networks-en.txt": (parse_netsh_networks, 8),
    "win-netsh-networks-fr.txt": (parse_netsh_networks, 8),
    "win-netsh-networks-it.txt": (parse_netsh_networks, 11),
}

NOT_READ = {
    "win-netsh-profile-name-es.txt": "a saved network's settings: what was meant, not what is, and next to its key",
    "win-netsh-profiles-en.txt": "which networks are saved: where somebody has been, and nothing that is wrong",
}


def text_of(name: str) -> str:
    return sample("wifi", name).decode("utf-8", "replace")


def test_every_recorded_file_has_its_case() -> None:
    found = {path.name for path in samples("wifi")}
    if not found:
        pytest.skip("no samples here")
    assert found == set(INDEX) | set(NOT_READ) and not set(INDEX) & set(NOT_READ)


@pytest.mark.parametrize("name", INDEX)
def test_what_is_read_is_what_was_recorded(name: str) -> None:
    reader, expected = INDEX[name]
    read = reader(text_of(name))
    if isinstance(expected, int):
        assert len(read) == expected
        return
    many = list(read) if isinstance(read, tuple) else [read]
    assert len(many) == len(expected)
    for one, wanted in zip(many, expected, strict=True):
        values = one if isinstance(one, dict) else {key: getattr(one, key) for key in wanted}
        assert {key: values.get(key) for key in wanted} == wanted


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_not_meant_for_a_parser_does_it_no_harm(name: str) -> None:
    for reader in {reader for reader, _ in INDEX.values()}:
        plausible(reader(text_of(name)))


def test_what_was_heard_around_has_its_places_and_levels() -> None:
    heard = parse_iw_scan(text_of("iw-scan-1.txt"))
    first = heard[0]
    assert (first.ssid, first.channel, first.signal_dbm, first.busy_percent) == ("Hoeheitsgebiet", 1, -57, 40)
    assert {one.band for one in heard} == {"2.4", "5"} and all(one.channel for one in heard)
    assert security_in_scan(text_of("iw-scan-1.txt"), first.ssid) == "wpa2-personal"
    italian = parse_netsh_networks(text_of("win-netsh-networks-it.txt"))
    assert [one.ssid for one in italian[:3]] == ["SSID-1", "", "SSID-3"], "a hidden network has no name"
    assert italian[0].busy_percent == 70 and italian[0].signal_dbm == -92
    assert len(parse_heard(text_of("mac-sp_10.15.7.json"))) == 17


def test_neighbours_are_those_whose_channels_overlap() -> None:
    own = WifiInterface(name="wlan0", state="connected", ssid="mine", band="2.4", channel=6)
    seen = (
        Seen(ssid="mine", band="2.4", channel=6, busy_percent=61),
        Seen(ssid="a", band="2.4", channel=2),
        Seen(ssid="b", band="2.4", channel=11),
        Seen(ssid="c", band="5", channel=36),
    )
    judged = with_neighbours(own, seen)
    assert (judged.neighbours, judged.channel_busy_percent) == (1, 61)
    assert with_neighbours(own, ()).neighbours is None, "nobody listened"
    heard = parse_iw_scan(text_of("iw-scan-1.txt"))
    crowded = WifiInterface(name="wlan0", state="connected", ssid=heard[0].ssid, band="2.4", channel=1)
    assert (with_neighbours(crowded, heard).neighbours or 0) >= 5


@pytest.mark.parametrize(
    ("mhz", "place"),
    [
        *((2412, ("2.4", 1)), (2472, ("2.4", 13)), (2484, ("2.4", 14)), (5180, ("5", 36)), (5825, ("5", 165))),
        *((5955, ("6", 1)), (7115, ("6", 233)), (0, ("", None)), ("rubbish", ("", None)), (10**9, ("", None))),
    ],
)
def test_frequencies_are_channels(mhz: object, place: tuple[str, int | None]) -> None:
    assert place_of(mhz) == place


LOG = """\
wlan0: SME: Trying to authenticate with fe:dc:ba:09:87:02 (SSID='home' freq=2412 MHz)
wlan0: CTRL-EVENT-CONNECTED - Connection to fe:dc:ba:09:87:02 completed [id=0 id_str=]
wlan0: WPA: 4-Way Handshake failed - pre-shared key may be incorrect
wlan0: CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="home" auth_failures=1 duration=10 reason=WRONG_KEY
wlan1: CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="other" auth_failures=9 duration=10 reason=CONN_FAILED
wlan0: CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="home" auth_failures=2 duration=20 reason=WRONG_KEY
"""


def test_failed_log_ins_are_counted_since_the_last_one_that_worked() -> None:
    said = parse_supplicant_log(LOG, "wlan0")
    assert (said.auth_failures, said.reason) == (2, "wrong-key")
    assert parse_supplicant_log(LOG, "wlan1").reason == "refused"
    assert parse_supplicant_log(LOG + "wlan0: CTRL-EVENT-CONNECTED - again\n", "wlan0").auth_failures == 0
    assert parse_supplicant_log("wlan0: CTRL-EVENT-NETWORK-NOT-FOUND \n", "wlan0").reason == "not-found"


def test_the_kernel_s_own_table_is_read_with_its_strange_units() -> None:
    table = (
        "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n"
        " face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n"
        " wlan0: 0000   58.  -52.  -256        0      0      0      0   1766        0\n"
        " wlan1: 0000    0.    0.    0.        0      0      0      0      0        0\n"
    )
    first, second = parse_proc_wireless(table)
    assert (first.name, first.signal_dbm, first.noise_dbm, second.signal_dbm) == ("wlan0", -52, None, None)


@pytest.mark.parametrize(
    ("text", "off"),
    [
        ("    Radio status           : Hardware On\n                             Software Off\n", "soft"),
        ("    Estado de radio        : Hardware Desactivado\n        Software Activado\n", "hard"),
        ("    Funkstatus             : Hardware Ein\n                             Software Aus\n", "soft"),
        ("    Name : WLAN", ""),
    ],
)
def test_a_switched_off_radio_is_told_in_several_languages(text: str, off: str) -> None:
    assert radio_off_in(text) == off


def test_names_that_are_no_plain_text_survive() -> None:
    link = "Connected to fe:dc:ba:09:87:02 (on wlan0)\n\tSSID: caf\\xc3\\xa9 \\xff\n\tfreq: 5180\n"
    assert parse_iw_link(link).ssid == "café \N{REPLACEMENT CHARACTER}"
    assert parse_iw_link("Not connected.\n").state == "disconnected"


def plausible(read: object) -> None:
    """It can be sent, and comes back as it was."""
    many = read if isinstance(read, tuple) else (read,)
    section = Wifi(interfaces=tuple(one for one in many if isinstance(one, WifiInterface)))
    assert decode_section("wifi", encode(section)) == section
    for one in many:
        if isinstance(one, WifiInterface | Seen):
            assert one.signal_dbm is None or -120 <= one.signal_dbm < 0
            assert one.channel is None or 1 <= one.channel <= 233
            assert len(one.ssid) <= 32


@pytest.mark.parametrize("name", INDEX)
def test_a_recorded_file_that_is_cut_anywhere_or_changed_is_no_failure_and_no_absurd_value(name: str) -> None:
    reader, _ = INDEX[name]
    text = text_of(name)[:12_000]

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, len(text)), st.integers(0, len(text)), st.text(max_size=12))
    def changed(start: int, end: int, between: str) -> None:
        plausible(reader(text[:start]))
        plausible(reader(text[:start] + between + text[end:]))
        plausible(reader(text.replace("1", "99999999999")))

    changed()


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_any_text_at_all_is_read_as_little_as_it_says(text: str) -> None:
    for reader, _ in INDEX.values():
        plausible(reader(text))
    plausible(parse_proc_wireless("\n\n" + text))
    assert parse_supplicant_log("wlan0: " + text, "wlan0").auth_failures >= 0
