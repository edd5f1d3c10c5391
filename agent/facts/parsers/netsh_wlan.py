"""What `netsh wlan` of Windows prints, in any language. Pure; from samples: it has never run beside us.

Labels are translated and values are too, but not their forms or their order: a hardware address is one, "802.11ax"
is a radio type, what follows it is the authentication, and SSID and BSSID are called so everywhere.
"""

from __future__ import annotations

import re

from agent.facts.parsers.wireless import (
    MAX_INTERFACES,
    MAX_SEEN,
    Seen,
    band_of,
    channel,
    dbm_of_percent,
    percent,
    rate,
    security_of,
    ssid_of,
    text_of,
)
from protocol.sections.wifi import WifiInterface

MAX_TEXT_CHARS = 1024 * 1024

OPEN = frozenset({"open", "abierta", "abierto", "offen", "ouvrir", "ouvert", "ouverte", "aperta", "aperto", "aberta"})
_OFF_WORDS = r".{0,3}\b(off|desactivado|aus|désactivée?|disattivato|desligado)\b"
OFF = re.compile(r"\bsoftware\b" + _OFF_WORDS, re.IGNORECASE)
HARD_OFF = re.compile(r"\bhardware\b" + _OFF_WORDS, re.IGNORECASE)
_GUID = re.compile(r"\{?[0-9a-zA-Z]{8}(-[0-9a-zA-Z]{4}){3}-[0-9a-zA-Z]{12}\}?")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_PERCENT = re.compile(r"[0-9]{1,3} ?%")
_GHZ = re.compile(r"[256][.,]?[0-9]? ?GHz")

Lines = list[tuple[str, str]]


def parse_netsh_interfaces(text: str) -> tuple[WifiInterface, ...]:
    """Of `netsh wlan show interfaces`: one a GUID. Its name stands two lines above."""
    lines = _lines(text)
    starts = [index - 2 for index, (_, value) in enumerate(lines) if _GUID.fullmatch(value) and index >= 2]
    ends = [*starts[1:], len(lines)]
    return tuple(
        _interface(lines[start:end]) for start, end in zip(starts[:MAX_INTERFACES], ends, strict=False) if start < end
    )


def radio_off_in(text: str) -> str:
    """ "soft", "hard" or "": the radio's switches, which are only named where one is off."""
    joined = " ".join(text[:MAX_TEXT_CHARS].split())
    return "hard" if HARD_OFF.search(joined) else "soft" if OFF.search(joined) else ""


def _interface(lines: Lines) -> WifiInterface:
    ssid = next((ssid_of(value) for label, value in lines if label == "SSID"), "")
    connected = any("BSSID" in label and _MAC.fullmatch(value) for label, value in lines)
    radio = next((index for index, (_, value) in enumerate(lines) if value.startswith("802.11")), None)
    security = lines[radio + 1][1] if radio is not None and radio + 1 < len(lines) else ""
    rates = [rate(value) for label, value in lines if re.search(r"\(mbps\)|\(mbits?/s\)", label, re.IGNORECASE)]
    numbers = (value for label, value in lines if re.fullmatch(r"[0-9]{1,3}", value) and "(" not in label)
    number = channel(next(numbers, ""))
    quality = percent(next((value for _, value in lines if _PERCENT.fullmatch(value)), ""))
    band = next((value for _, value in lines if _GHZ.fullmatch(value)), "")
    return WifiInterface(
        name=text_of(lines[0][1]),
        state="connected" if connected else "disconnected",
        ssid=ssid,
        band=band_of(band, number) if connected else "",
        channel=number if connected else None,
        signal_percent=quality,
        signal_dbm=dbm_of_percent(quality),
        rx_rate_mbps=rates[0] if rates else None,
        rate_mbps=rates[1] if len(rates) > 1 else None,
        security=("open" if security.lower() in OPEN else security_of(security)) if connected else "",
    )


def parse_netsh_networks(text: str) -> tuple[Seen, ...]:
    """Of `netsh wlan show networks mode=bssid`: one an access point."""
    seen: list[Seen] = []
    ssid = ""
    block: Lines = []
    for label, value in [*_lines(text, empty=True), ("SSID 0", "")]:
        if re.fullmatch(r"SSID \d+", label):
            seen += [_seen(ssid, block)] if block else []
            ssid, block = ssid_of(value), []
        elif re.fullmatch(r"BSSID \d+", label):
            seen += [_seen(ssid, block)] if block else []
            block = [(label, value)]
        elif block:
            block.append((label, value))
    return tuple(seen[:MAX_SEEN])


def _seen(ssid: str, lines: Lines) -> Seen:
    number = channel(next((value for _, value in lines[1:] if re.fullmatch(r"[0-9]{1,3}", value)), ""))
    band = next((value for _, value in lines if _GHZ.fullmatch(value)), "")
    quality = percent(next((value for _, value in lines if _PERCENT.fullmatch(value)), ""))
    busy = next((found.group(1) for _, value in lines if (found := re.fullmatch(r"\d+ \((\d+) ?%\)", value))), "")
    return Seen(
        ssid=ssid,
        bssid=lines[0][1].lower() if _MAC.fullmatch(lines[0][1]) else "",
        band=band_of(band, number),
        channel=number,
        signal_percent=quality,
        signal_dbm=dbm_of_percent(quality),
        busy_percent=percent(busy),
    )


def _lines(text: str, *, empty: bool = False) -> Lines:
    """empty: also labels without a value, as a hidden network's."""
    lines = []
    for line in text[:MAX_TEXT_CHARS].splitlines():
        label, colon, value = line.partition(":")
        if colon and (value.strip() or empty):
            lines.append((" ".join(label.split()), value.strip()))
    return lines
