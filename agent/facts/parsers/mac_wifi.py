"""What macOS says of Wi-Fi: system_profiler's JSON, the old `airport -I`, and `wdutil info`. Pure; from samples."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from agent.facts.parsers.iw import channel_and_band
from agent.facts.parsers.wireless import MAX_INTERFACES, MAX_SEEN, Seen, dbm, rate, security_of, ssid_of, text_of, width
from protocol.sections.wifi import WifiInterface

MAX_TEXT_CHARS = 4 * 1024 * 1024
STATES = {
    "spairport_status_connected": "connected",
    "spairport_status_disassociated": "disconnected",
    "spairport_status_inactive": "disconnected",
    "spairport_status_off": "off",
}


def parse_system_profiler(text: str) -> tuple[WifiInterface, ...]:
    """Of `system_profiler SPAirPortDataType -json`. What has no state (awdl0) is for AirDrop."""
    return tuple(_interface(tree) for tree in _trees(text) if tree.get("spairport_status_information") in STATES)


def parse_heard(text: str) -> tuple[Seen, ...]:
    """The other networks in the same JSON."""
    heard = []
    for tree in _trees(text):
        others = tree.get("spairport_airport_other_local_wireless_networks")
        for other in others if isinstance(others, list) else ():
            if isinstance(other, dict):
                number, band = channel_and_band(str(other.get("spairport_network_channel", ""))[:40])
                signal, _ = _levels(other)
                heard.append(Seen(ssid=ssid_of(other.get("_name")), band=band, channel=number, signal_dbm=signal))
    return tuple(heard[:MAX_SEEN])


def parse_airport(text: str) -> WifiInterface:
    """Of `airport -I`, up to macOS 14.3."""
    values = _values(text)
    state = {"running": "connected", "init": "disconnected"}.get(values.get("state", ""), "")
    number, band = channel_and_band(values.get("channel", ""))
    wide = re.search(r",(\d+)", values.get("channel", ""))
    security = values.get("link auth", "")
    return WifiInterface(
        state="off" if values.get("AirPort") == "Off" else state,
        ssid=ssid_of(values.get("SSID")),
        band=band,
        channel=number,
        width_mhz=width(wide.group(1)) if wide else None,
        signal_dbm=dbm(values.get("agrCtlRSSI")),
        noise_dbm=dbm(values.get("agrCtlNoise")),
        rate_mbps=rate(values.get("lastTxRate")),
        security={"wpa2-psk": "wpa2-personal", "wpa3-sae": "wpa3-personal"}.get(security, security_of(security)),
    )


def parse_wdutil(text: str) -> WifiInterface:
    """Of `wdutil info`, which needs root; names may be "<redacted>"."""
    wifi = re.search(r"^WIFI\s*\n(.*?)(?=^[A-Z]+\s*$|\Z)", text[:MAX_TEXT_CHARS], re.MULTILINE | re.DOTALL)
    values = _values(wifi.group(1)) if wifi else {}
    said = values.get("Channel", "")
    number, band = channel_and_band(said)
    wide = re.search(r"/(\d+)$|\((\d+) MHz", said)
    on = values.get("Power", "").startswith("On")
    return WifiInterface(
        name=text_of(values.get("Interface Name")),
        state=("connected" if number is not None else "disconnected") if on else "off" if values else "",
        ssid=ssid_of(values.get("SSID")) if values.get("SSID") != "None" else "",
        band=band,
        channel=number,
        width_mhz=width(wide.group(1) or wide.group(2)) if wide else None,
        signal_dbm=dbm(values.get("RSSI")),
        noise_dbm=dbm(values.get("Noise")),
        rate_mbps=rate(values.get("Tx Rate")),
        security=security_of(values.get("Security", "")),
    )


def _interface(tree: dict[str, Any]) -> WifiInterface:
    network = tree.get("spairport_current_network_information")
    network = network if isinstance(network, dict) else {}
    said = str(network.get("spairport_network_channel", ""))[:40]
    number, band = channel_and_band(said)
    wide = re.search(r"(\d+)MHz", said)
    signal, noise = _levels(network)
    security = network.get("spairport_security_mode")
    return WifiInterface(
        name=text_of(tree.get("_name")),
        state=STATES[tree["spairport_status_information"]],
        ssid=ssid_of(network.get("_name")),
        band=band,
        channel=number,
        width_mhz=width(wide.group(1)) if wide else None,
        signal_dbm=signal,
        noise_dbm=noise,
        rate_mbps=rate(network.get("spairport_network_rate")),
        security=security_of(security) if isinstance(security, str) else "",
    )


def _levels(network: dict[str, Any]) -> tuple[int | None, int | None]:
    """ "-58 dBm / -97 dBm"; a noise of 0 is none."""
    said = network.get("spairport_signal_noise")
    signal, _, noise = (said if isinstance(said, str) else "")[:40].partition("/")
    return dbm(signal), dbm(noise)


def _trees(text: str) -> Iterator[dict[str, Any]]:
    try:
        tree = json.loads(text[:MAX_TEXT_CHARS])
    except (ValueError, RecursionError):
        return
    cards = tree.get("SPAirPortDataType") if isinstance(tree, dict) else None
    count = 0
    for card in cards if isinstance(cards, list) else ():
        interfaces = card.get("spairport_airport_interfaces") if isinstance(card, dict) else None
        for one in interfaces if isinstance(interfaces, list) else ():
            state = one.get("spairport_status_information") if isinstance(one, dict) else None
            if isinstance(one, dict) and (state is None or isinstance(state, str)) and count < MAX_INTERFACES:
                count += 1
                yield one


def _values(text: str) -> dict[str, str]:
    pairs = (line.partition(": ") for line in text[:MAX_TEXT_CHARS].splitlines())
    return {key.strip(): value.strip()[:200] for key, colon, value in pairs if colon}
