"""Modems and Wi-Fi: a signal that trembles is no news, one that goes is; and what a technician sees of both."""

from __future__ import annotations

import pytest

from agent.facts.steady import settle
from console.views.table import print_section
from protocol.sections.modem import Bearer, Modem, Modems
from protocol.sections.wifi import Wifi, WifiInterface

GIB = 1024**3
LTE = Modem(
    name="cdc-wdm0",
    by="modemmanager",
    model="EM7455",
    state="connected",
    registration="roaming",
    roaming=True,
    operator="Prueba",
    operator_code="21490",
    technology="lte",
    rsrp_dbm=-100,
    rsrq_db=-11,
    snr_db=9,
    signal_percent=61,
    apn="internet",
    bearers=(Bearer(apn="internet", connected=True, interface="wwan0", rx_bytes=2 * GIB, tx_bytes=GIB),),
)
HOME = WifiInterface(
    name="wlan0",
    state="connected",
    ssid="casa",
    band="2.4",
    channel=6,
    width_mhz=20,
    signal_dbm=-60,
    rate_mbps=72,
    security="wpa2-personal",
    neighbours=3,
    channel_busy_percent=40,
)


def modem(**changes: object) -> Modems:
    import msgspec

    return Modems(modems=(msgspec.structs.replace(LTE, **changes),))


def wifi(**changes: object) -> Wifi:
    import msgspec

    return Wifi(interfaces=(msgspec.structs.replace(HOME, **changes),))


def test_a_modem_s_signal_and_traffic_tremble_and_the_section_stays() -> None:
    first = settle(None, modem())
    assert first.modems[0].rsrp_dbm == -100
    more = (Bearer(apn="internet", connected=True, interface="wwan0", rx_bytes=2 * GIB + 50_000_000, tx_bytes=GIB + 9),)
    assert settle(first, modem(rsrp_dbm=-104, rsrq_db=-13, snr_db=5, signal_percent=58, bearers=more)) == first
    assert settle(first, modem(rsrp_dbm=-107)) != first
    assert settle(first, modem(rsrp_dbm=None)).modems[0].rsrp_dbm is None, "that it is gone is news"
    assert settle(first, modem(registration="home")) != first
    much = (Bearer(apn="internet", connected=True, interface="wwan0", rx_bytes=3 * GIB, tx_bytes=GIB),)
    assert settle(first, modem(bearers=much)) != first


def test_wi_fi_adapts_with_every_frame_and_the_section_stays() -> None:
    first = settle(None, wifi())
    assert settle(first, wifi(signal_dbm=-63, rate_mbps=86, neighbours=5, channel_busy_percent=48)) == first
    assert settle(first, wifi(signal_dbm=-75)) != first
    assert settle(first, wifi(channel=11)) != first
    assert settle(first, wifi(state="disconnected", signal_dbm=None)) != first


@pytest.mark.parametrize(
    ("modem", "word"),
    [
        (Modem(rsrp_dbm=-90), "excellent"),
        (Modem(rsrp_dbm=-100), "good"),
        (Modem(rsrp_dbm=-110), "fair"),
        (Modem(rsrp_dbm=-120), "weak"),
        (Modem(rsrp_dbm=-130), "none"),
        (Modem(rsrp_dbm=-90, snr_db=-1), "weak"),
        (Modem(rsrp_dbm=-80, technology="5gnr"), "good"),
        (Modem(rscp_dbm=-110), "weak"),
        (Modem(rssi_dbm=-60), "excellent"),
        (Modem(rssi_dbm=-60, rsrp_dbm=-125), "weak"),
        (Modem(), None),
    ],
)
def test_figures_have_a_meaning_by_their_kind(modem: Modem, word: str | None) -> None:
    assert modem.signal_word == word


def test_a_technician_sees_what_matters_of_both(capsys: pytest.CaptureFixture[str]) -> None:
    print_section(modem())
    shown = capsys.readouterr().out
    for part in ("EM7455", "connected", "roaming: Prueba 21490", "good: RSRP -100 dBm", "SNR 9 dB", "2 GiB received"):
        assert part in shown, part
    print_section(Modems(modems=(Modem(name="m", state="failed", failed_reason="sim-missing"),), radio_off="soft"))
    shown = capsys.readouterr().out
    assert "failed: sim-missing" in shown and "flight mode" in shown
    print_section(Modems(modems=(Modem(name="m", state="locked", lock="sim-pin", unlock_tries=1),)))
    assert "sim-pin (1 tries left)" in capsys.readouterr().out
    print_section(wifi(auth_failures=2))
    shown = capsys.readouterr().out
    for part in ("casa (wpa2-personal)", "6 of 2.4 GHz, 20 MHz wide, busy 40 %", "good: -60 dBm", "refused log-ins"):
        assert part in shown, part
    print_section(Wifi())
    print_section(Modems())
    assert "no Wi-Fi adapter" in (shown := capsys.readouterr().out) and "no mobile modem" in shown
    print_section(wifi(ssid="\x1b[31mevil\u202e"))
    assert "\x1b" not in capsys.readouterr().out


def diagnosed(*sections: object) -> str:
    from agent.diagnosis.look import Diagnosis
    from agent.diagnosis.page import page
    from agent.diagnosis.target import Target
    from protocol.sections.connectivity import Connectivity
    from protocol.sections.findings import Findings

    held = {"connectivity": Connectivity(), "findings": Findings(), "wifi": sections[0], "modem": sections[1]}
    return page(Diagnosis(at=1_800_000_000.0, target=Target(), sections=held), "en")  # type: ignore[arg-type]


def test_the_page_shows_both_with_a_bar_and_runs_nothing_of_what_a_network_is_called() -> None:
    text = diagnosed(wifi(ssid="<script>alert(1)</script>"), modem(rsrp_dbm=-121))
    assert "(-60 dBm)" in text and "(-121 dBm)" in text and "width:25%" in text and "Prueba" in text
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert "dBm" not in diagnosed(Wifi(), Modems())
