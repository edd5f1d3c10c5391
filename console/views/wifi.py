"""What Wi-Fi looks like to a person."""

from __future__ import annotations

from console.render import print_pairs
from console.views.cells import filled
from console.views.modem import RADIO
from protocol.sections.wifi import Wifi, WifiInterface


def wifi_view(section: Wifi) -> None:
    if not section.interfaces:
        print("no Wi-Fi adapter")
    if section.radio_off:
        print_pairs([("Wi-Fi", RADIO.get(section.radio_off, section.radio_off))])
    for interface in section.interfaces:
        print_pairs(_interface(interface))


def _interface(one: WifiInterface) -> list[tuple[str, str]]:
    rates = [
        f"{one.rate_mbps} sent" if one.rate_mbps else "",
        f"{one.rx_rate_mbps} received" if one.rx_rate_mbps else "",
    ]
    width = f", {one.width_mhz} MHz wide" if one.width_mhz else ""
    busy = f", busy {one.channel_busy_percent} %" if one.channel_busy_percent is not None else ""
    return filled(
        ("adapter", one.name),
        ("state", f"{one.state}{': ' + one.reason if one.reason else ''}"),
        ("network", f"{one.ssid} ({one.security})" if one.security else one.ssid),
        ("channel", f"{one.channel} of {one.band or '?'} GHz{width}{busy}" if one.channel else ""),
        ("signal", _signal(one)),
        ("Mbit/s", ", ".join(filter(None, rates))),
        ("refused log-ins", str(one.auth_failures) if one.auth_failures else ""),
        ("others on it", str(one.neighbours) if one.neighbours is not None else ""),
    )


def _signal(one: WifiInterface) -> str:
    figures = [
        f"{one.signal_dbm} dBm" if one.signal_dbm is not None else "",
        f"{one.signal_percent} %" if one.signal_percent is not None else "",
        f"noise {one.noise_dbm} dBm" if one.noise_dbm is not None else "",
    ]
    said = ", ".join(filter(None, figures))
    return f"{one.signal_word}: {said}" if one.signal_word is not None else said
