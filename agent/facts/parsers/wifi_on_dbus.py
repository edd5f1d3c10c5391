"""Wi-Fi as NetworkManager has it: its devices' properties from D-Bus, and what nmcli prints. Pure.

Enumerations: libnm-core/nm-dbus-interface.h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from agent.facts.parsers.wireless import MAX_INTERFACES, Seen, dbm_of_percent, percent, place_of, rate, ssid_of, text_of
from protocol.sections.wifi import WifiInterface

MAX_TEXT_CHARS = 256 * 1024

REASONS = {
    5: "no-address",
    6: "no-address",
    7: "wrong-key",
    8: "refused",
    9: "refused",
    10: "refused",
    11: "timeout",
    15: "no-address",
    16: "no-address",
    17: "no-address",
    53: "not-found",
}
"""NMDeviceStateReason. 7, secrets were required and not given: it asks again after a refusal, and nobody answers."""

Properties = Mapping[str, Any]


def state_of(number: object) -> str:
    """NMDeviceState: 20 is unavailable (off, no driver), 30 disconnected, 40 to 90 on the way, 100 activated."""
    value = number if isinstance(number, int) and not isinstance(number, bool) else -1
    if value == 100:
        return "connected"
    if 40 <= value < 100:
        return "connecting"
    if value in (30, 110, 120):
        return "disconnected"
    return "off" if value == 20 else ""


def parse_device(device: Properties, wireless: Properties, point: Properties) -> WifiInterface:
    """device, wireless: of its two interfaces.  point: of the access point in use, empty for none."""
    state = state_of(device.get("State"))
    reason = device.get("StateReason")
    why = reason[1] if isinstance(reason, list | tuple) and len(reason) == 2 else None
    band, number = place_of(point.get("Frequency"))
    strength = percent(point.get("Strength"))
    kbits = wireless.get("Bitrate")
    return WifiInterface(
        name=text_of(device.get("Interface")),
        state=state,
        ssid=ssid_of(_text(point.get("Ssid"))),
        band=band,
        channel=number,
        signal_percent=strength,
        signal_dbm=dbm_of_percent(strength),
        rate_mbps=rate(kbits / 1000) if isinstance(kbits, int) else None,
        security=_security(point) if point else "",
        reason=REASONS.get(why, "") if state != "connected" and isinstance(why, int) else "",
    )


def parse_point(point: Properties) -> Seen:
    band, number = place_of(point.get("Frequency"))
    strength = percent(point.get("Strength"))
    return Seen(
        ssid=ssid_of(_text(point.get("Ssid"))),
        band=band,
        channel=number,
        signal_percent=strength,
        signal_dbm=dbm_of_percent(strength),
    )


def radio_off(manager: Properties, kind: str) -> str:
    """kind: "Wireless" or "Wwan"; "soft", "hard" or ""."""
    if manager.get(f"{kind}HardwareEnabled") is False:
        return "hard"
    return "soft" if manager.get(f"{kind}Enabled") is False else ""


def _security(point: Properties) -> str:
    """NM80211ApFlags and NM80211ApSecurityFlags."""
    flags = [value if isinstance(value := point.get(name), int) else 0 for name in ("Flags", "WpaFlags", "RsnFlags")]
    keys = flags[1] | flags[2]
    if keys & 0x200:
        return "wpa2-enterprise"
    if keys & 0x400:
        return "wpa2/wpa3-personal" if keys & 0x100 else "wpa3-personal"
    if keys & 0x100:
        return "wpa2-personal" if flags[2] else "wpa-personal"
    if keys & 0x1800:
        return "enhanced-open"
    return "wep" if flags[0] & 0x1 else "open"


def _text(value: object) -> str:
    if isinstance(value, list) and all(isinstance(one, int) and 0 <= one < 256 for one in value):
        value = bytes(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def parse_nmcli_devices(text: str) -> tuple[WifiInterface, ...]:
    """Of `nmcli device show`, with or without -t: those of type wifi."""
    found = []
    for block in re.split(r"\n\s*\n", text[:MAX_TEXT_CHARS]):
        values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if values.get("GENERAL.TYPE") == "wifi":
            number, reason = (re.match(r"\d{1,3}", values.get(f"GENERAL.{key}", "")) for key in ("STATE", "REASON"))
            state = state_of(int(number.group())) if number else ""
            why = REASONS.get(int(reason.group()), "") if reason and state != "connected" else ""
            found.append(WifiInterface(name=text_of(values.get("GENERAL.DEVICE")), state=state, reason=why))
    return tuple(found[:MAX_INTERFACES])


def parse_nmcli_general(text: str) -> dict[str, str]:
    """Of `nmcli -f all general`: the heading's names to the values; empty where it is none."""
    lines = [line for line in text[:MAX_TEXT_CHARS].splitlines() if line.strip()]
    if len(lines) < 2 or not lines[0].startswith("RUNNING"):
        return {}
    return dict(zip(re.split(r"\s{2,}", lines[0].strip()), re.split(r"\s{2,}", lines[1].strip()), strict=False))
