"""What the parsers on Wi-Fi share: bounds, words, channels, and one adapter out of several answers. Pure."""

from __future__ import annotations

import re

import msgspec

from agent.facts.parsers.cellular import number_of, percent, text_of, within
from protocol.sections.wifi import Band, WifiInterface

__all__ = ["number_of", "percent", "text_of", "within"]

MAX_SSID_CHARS = 32
"""IEEE 802.11: 32 bytes."""

MAX_INTERFACES = 16
MAX_SEEN = 1024
OVERLAP_24 = 4
"""Channels of 2.4 GHz are 5 MHz apart and 20 wide: those less than five away disturb each other."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A network that was heard. bssid: kept here only to tell it from the one in use."""

    ssid: str = ""
    bssid: str = ""
    band: Band = ""
    channel: int | None = None
    signal_dbm: int | None = None
    signal_percent: int | None = None
    busy_percent: int | None = None


def ssid_of(value: object) -> str:
    """Spaces belong to a name; iw writes bytes that are no text as \\xNN."""
    if not isinstance(value, str) or value in ("--", "off/any", "<redacted>"):
        return ""
    raw = value[: MAX_SSID_CHARS * 4].encode("utf-8", "replace")
    raw = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes([int(found.group(1), 16)]), raw)
    text = raw.decode("utf-8", "replace")[:MAX_SSID_CHARS]
    return "" if not text.strip("\0 ") else text


def dbm(value: object) -> int | None:
    """0 is what drivers say that do not know."""
    return within(value, -120, -1)


def rate(value: object) -> int | None:
    """Mbit/s; Wi-Fi 7 ends at 46,120."""
    return within(value, 0, 50_000) or None


def width(value: object) -> int | None:
    number = within(value, 5, 320)
    return number if number in (5, 10, 20, 40, 80, 160, 320) else None


def channel(value: object) -> int | None:
    return within(value, 1, 233)


def place_of(mhz: object) -> tuple[Band, int | None]:
    """Band and channel of a centre frequency in MHz. IEEE 802.11 annex E."""
    frequency = within(mhz, 2400, 7200)
    if frequency is None:
        return "", None
    if frequency == 2484:
        return "2.4", 14
    if 2412 <= frequency <= 2472:
        return "2.4", (frequency - 2407) // 5
    if 5150 <= frequency <= 5895:
        return "5", (frequency - 5000) // 5
    if 5950 <= frequency <= 7115:
        return "6", (frequency - 5950) // 5 or None
    return "", None


def band_of(text: str, number: int | None = None) -> Band:
    """From a text that names it ("2,4 GHz", "5GHz", "2g11/20"), else from the channel, where that is certain."""
    said = text.lower().replace(",", ".")
    found = re.search(r"\b(2\.4|2|5|6)\.?0?\s?g(?:hz)?", said)
    if found:
        return "2.4" if found.group(1).startswith("2") else "5" if found.group(1) == "5" else "6"
    if number is None:
        return ""
    return "2.4" if number <= 14 else "5" if 36 <= number <= 177 else ""  # of 6 GHz, many numbers are 5 GHz's as well


def dbm_of_percent(value: int | None) -> int | None:
    """As Windows counts: 0 is -100 dBm, 100 is -50 (WLAN_ASSOCIATION_ATTRIBUTES, wlanSignalQuality)."""
    return value // 2 - 100 if value is not None and value > 0 else None


def security_of(text: str) -> str:
    """Small letters, a dash for a space: "wpa2-personal"; "open" for none."""
    said = text_of(text, 40).lower().replace("spairport_security_mode_", "").replace("_", "-").replace(" ", "-")
    return {"none": "open"}.get(said, said)


def with_neighbours(interface: WifiInterface, seen: tuple[Seen, ...]) -> WifiInterface:
    """Counted among those heard; and how busy the own access point says that its channel is."""
    if interface.state != "connected" or interface.channel is None or not seen:
        return interface
    others = [one for one in seen if one.ssid != interface.ssid and _overlap(interface, one)]
    own = [one for one in seen if one.ssid == interface.ssid and one.channel == interface.channel]
    busy = max((one.busy_percent for one in own if one.busy_percent is not None), default=None)
    return msgspec.structs.replace(interface, neighbours=len(others), channel_busy_percent=busy)


def _overlap(interface: WifiInterface, other: Seen) -> bool:
    if other.channel is None or interface.channel is None or (other.band and other.band != interface.band):
        return False
    if interface.band == "2.4":
        return abs(other.channel - interface.channel) <= OVERLAP_24
    return other.channel == interface.channel


def joined(first: WifiInterface, *others: WifiInterface) -> WifiInterface:
    """`first`, with what it does not know from the others, in their order."""
    for other in others:
        unknown = {
            name: getattr(other, name)
            for name in first.__struct_fields__
            if getattr(first, name) in ("", None) and getattr(other, name) not in ("", None)
        }
        first = msgspec.structs.replace(first, **unknown)
    return first
