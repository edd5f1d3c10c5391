"""What Linux' own tools say of Wi-Fi: iw, the older iwconfig, /proc/net/wireless, and wpa_supplicant's log. Pure."""

from __future__ import annotations

import re

import msgspec

from agent.facts.parsers.wireless import (
    MAX_INTERFACES,
    MAX_SEEN,
    Seen,
    band_of,
    channel,
    dbm,
    place_of,
    rate,
    ssid_of,
    text_of,
    width,
    within,
)
from protocol.sections.wifi import Band, WifiInterface

MAX_TEXT_CHARS = 4 * 1024 * 1024
MAX_FAILURES = 1000


def parse_iw_dev(text: str) -> tuple[WifiInterface, ...]:
    """Of `iw dev`, or `iw dev X info`: one a block "Interface X". Only stations: an access point of our own is none."""
    blocks = re.split(r"^\s*Interface ", text[:MAX_TEXT_CHARS], flags=re.MULTILINE)[1 : MAX_INTERFACES + 1]
    return tuple(_interface(block) for block in blocks if _one(block, r"^\s*type (\S+)", "managed") == "managed")


def _interface(block: str) -> WifiInterface:
    place = re.search(r"^\s*channel \d+ \((\d+) MHz\)(?:, width: (\d+) MHz)?", block, re.MULTILINE)
    band, number = place_of(place.group(1)) if place else ("", None)
    ssid = ssid_of(_one(block, r"^\s*ssid (.*)$"))
    return WifiInterface(
        name=text_of(block.partition("\n")[0]),
        state="connected" if ssid else "",
        ssid=ssid,
        band=band,
        channel=number,
        width_mhz=width(place.group(2)) if place else None,
    )


def parse_iw_link(text: str) -> WifiInterface:
    """Of `iw dev X link`."""
    text = text[:MAX_TEXT_CHARS]
    if re.search(r"^Not connected", text, re.MULTILINE):
        return WifiInterface(state="disconnected")
    connected = re.search(r"^Connected to \S+ \(on (\S+)\)", text, re.MULTILINE)
    band, number = place_of(_one(text, r"^\s*freq: (\d+)"))
    return WifiInterface(
        name=text_of(connected.group(1)) if connected else "",
        state="connected" if connected else "",
        ssid=ssid_of(_one(text, r"^\s*SSID: (.*)$")),
        band=band,
        channel=number,
        width_mhz=width(_one(text, r"^\s*tx bitrate:.*?(\d+)MHz")),
        signal_dbm=dbm(_one(text, r"^\s*signal: (-?\d+)")),
        rate_mbps=rate(_one(text, r"^\s*tx bitrate: ([0-9.]+)")),
        rx_rate_mbps=rate(_one(text, r"^\s*rx bitrate: ([0-9.]+)")),
    )


def parse_iw_scan(text: str) -> tuple[Seen, ...]:
    """Of `iw dev X scan dump`: what the adapter heard lately; nothing is sent for it."""
    blocks = re.split(r"^BSS ", text[:MAX_TEXT_CHARS], flags=re.MULTILINE)[1 : MAX_SEEN + 1]
    return tuple(_seen(block) for block in blocks)


def _seen(block: str) -> Seen:
    band, number = place_of(_one(block, r"^\s*freq: (\d+)"))
    busy = within(_one(block, r"^\s*\* channel utilisation: (\d+)/255"), 0, 255)
    return Seen(
        ssid=ssid_of(_one(block, r"^\s*SSID: (.*)$")),
        bssid=_one(block, r"^([0-9a-f:]{17})"),
        band=band,
        channel=number,
        signal_dbm=dbm(_one(block, r"^\s*signal: (-?\d+)")),
        busy_percent=100 * busy // 255 if busy is not None else None,
    )


def security_in_scan(text: str, ssid: str) -> str:
    """How the network in use is closed, as its beacon says; "" where it was not heard."""
    for block in re.split(r"^BSS ", text[:MAX_TEXT_CHARS], flags=re.MULTILINE)[1 : MAX_SEEN + 1]:
        if ssid and ssid_of(_one(block, r"^\s*SSID: (.*)$")) == ssid:
            return _security(block)
    return ""


def _security(block: str) -> str:
    suites = set(" ".join(re.findall(r"Authentication suites: (.*)$", block, re.MULTILINE)).split())
    if "802.1X" in suites:
        return "wpa2-enterprise"
    if "SAE" in suites:
        return "wpa3-personal" if "PSK" not in suites else "wpa2/wpa3-personal"
    if "OWE" in suites:
        return "enhanced-open"
    if re.search(r"^\s*RSN:", block, re.MULTILINE):
        return "wpa2-personal"
    if re.search(r"^\s*WPA:", block, re.MULTILINE):
        return "wpa-personal"
    return "wep" if re.search(r"^\s*capability:.* Privacy", block, re.MULTILINE) else "open"


def parse_iwconfig(text: str) -> tuple[WifiInterface, ...]:
    """For systems without iw."""
    blocks = re.split(r"\n(?=\S)", text[:MAX_TEXT_CHARS])[:MAX_INTERFACES]
    return tuple(_iwconfig(block) for block in blocks if re.match(r"\S+ +IEEE 802\.11", block))


def _iwconfig(block: str) -> WifiInterface:
    ssid = ssid_of(_one(block, r'ESSID:"([^"\n]*)"'))
    associated = bool(re.search(r"Access Point: [0-9A-Fa-f:]{17}", block))
    ghz = _one(block, r"Frequency[:=]([0-9]\.[0-9]{1,4}) GHz")
    band, number = place_of(float(ghz) * 1000) if ghz else ("", None)
    return WifiInterface(
        name=text_of(block.split(" ")[0]),
        state="connected" if associated else "disconnected",
        ssid=ssid if associated else "",
        band=band,
        channel=number,
        signal_dbm=dbm(_one(block, r"Signal level[:=](-\d+) dBm")),
        rate_mbps=rate(_one(block, r"Bit Rate[:=]([0-9.]+) Mb/s")),
    )


def parse_proc_wireless(text: str) -> tuple[WifiInterface, ...]:
    """/proc/net/wireless: a kernel's own table, where it still has it. Levels without a sign are of old drivers."""
    found = []
    for line in text.splitlines()[2 : MAX_INTERFACES + 2]:
        name, colon, rest = line.partition(":")
        values = rest.split()
        if colon and len(values) >= 4:
            noise = dbm(values[3])
            noise = noise if noise is not None and noise > -110 else None  # -256 and -120: not measured
            found.append(WifiInterface(name=text_of(name), signal_dbm=dbm(values[2]), noise_dbm=noise))
    return tuple(found)


class Supplicant(msgspec.Struct, frozen=True):
    """auth_failures: since it was connected last.  reason: of WifiInterface.reason."""

    auth_failures: int = 0
    reason: str = ""


def parse_supplicant_log(text: str, interface: str) -> Supplicant:
    """wpa_supplicant's events of one interface, oldest first, as its log and its control socket have them."""
    failures, reason = 0, ""
    for line in text[-MAX_TEXT_CHARS:].splitlines():
        if f"{interface}: " not in line:
            continue
        if "CTRL-EVENT-CONNECTED" in line:
            failures, reason = 0, ""
        elif "CTRL-EVENT-SSID-TEMP-DISABLED" in line:
            failures = within(_one(line, r"auth_failures=(\d+)"), 0, MAX_FAILURES) or failures + 1
            reason = {"WRONG_KEY": "wrong-key", "AUTH_FAILED": "wrong-key"}.get(_one(line, r"reason=(\w+)"), "refused")
        elif "CTRL-EVENT-EAP-FAILURE" in line:
            failures, reason = failures + 1, "wrong-key"
        elif "pre-shared key may be incorrect" in line:
            failures, reason = max(failures, 1), "wrong-key"
        elif "CTRL-EVENT-AUTH-REJECT" in line or "CTRL-EVENT-ASSOC-REJECT" in line:
            failures, reason = failures + 1, reason or "refused"
        elif "CTRL-EVENT-NETWORK-NOT-FOUND" in line:
            reason = reason or "not-found"
    return Supplicant(min(failures, MAX_FAILURES), reason)


def channel_and_band(text: str) -> tuple[int | None, Band]:
    """ "48,80", "2g11/20", "144 (40 MHz, DFS)", "6 (2GHz, 20MHz)": as macOS writes them, in its many tools."""
    prefixed = re.match(r"\s*([256])g(\d+)", text)
    number = channel(prefixed.group(2) if prefixed else text)
    return number, band_of(f"{prefixed.group(1)}ghz" if prefixed else text, number)


def _one(text: str, pattern: str, default: str = "") -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return (found.group(1) or default) if found else default
