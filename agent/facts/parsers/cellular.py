"""What the parsers on mobile-broadband modems share: bounds, words, and one modem out of several answers. Pure."""

from __future__ import annotations

import math
import re

import msgspec

from protocol.sections.modem import Bearer, Modem

MAX_NAME_CHARS = 64
"""A model's name is two words; one that is longer is no name."""

MAX_REASON_CHARS = 120
MAX_MODEMS = 8
MAX_BEARERS = 8

TECHNOLOGIES_3GPP: dict[int, str] = {
    0: "gsm",
    1: "gsm",
    2: "umts",
    3: "edge",
    4: "hsdpa",
    5: "hsupa",
    6: "hspa",
    7: "lte",
    8: "gsm",
    9: "lte-nb-iot",
    10: "lte",
    11: "5gnr",
    12: "5gnr",
    13: "lte+5gnr",
}
"""<AcT> of 3GPP TS 27.007, in the words of ModemManager."""

REGISTRATIONS_3GPP: dict[int, str] = {
    0: "idle",
    1: "home",
    2: "searching",
    3: "denied",
    4: "unknown",
    5: "roaming",
    6: "home-sms-only",
    7: "roaming-sms-only",
    8: "emergency-only",
    9: "home",
    10: "roaming",
}
"""<stat> of 3GPP TS 27.007; 9 and 10 are without the telephone's fall-back, which data does not need."""

ROAMING = {"home": False, "home-sms-only": False, "roaming": True, "roaming-sms-only": True}


def text_of(value: object, limit: int = MAX_NAME_CHARS) -> str:
    """One line that can be sent; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    line = " ".join(value[: limit * 4].split())
    return line[:limit].encode("utf-8", "replace").decode("utf-8")


def number_of(value: object) -> float | None:
    """A finite number, also as text ("-92.9", "-92 dBm"); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        found = re.match(r"\s*([+-]?[0-9]{1,9}(?:\.[0-9]{1,9})?)", value)
        return float(found.group(1)) if found else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def within(value: object, least: int, most: int) -> int | None:
    """The number, rounded; None where it is none or cannot be: firmware says -32768, 255, 0 for "unknown"."""
    number = number_of(value)
    return round(number) if number is not None and least <= number <= most else None


def dbm(value: object) -> int | None:
    """0 dBm is a milliwatt at the antenna, which is no reception but "unknown"."""
    return within(value, -160, -1)


def db(value: object, least: int = -40, most: int = 40) -> int | None:
    return within(value, least, most)


def percent(value: object) -> int | None:
    return within(value, 0, 100)


def code_of(mcc: object, mnc: object) -> str:
    """MCC and MNC as one, "21407"."""
    first, second = text_of(mcc, 8), text_of(mnc, 8)
    return first + second if re.fullmatch(r"[0-9]{3}", first) and re.fullmatch(r"[0-9]{2,3}", second) else ""


def operator_code(value: object) -> str:
    text = text_of(value, 8)
    return text if re.fullmatch(r"[0-9]{5,6}", text) and text != "00000" else ""


def merged(first: Modem, *others: Modem) -> Modem:
    """`first`, with what it does not know from the others, in their order."""
    for other in others:
        unknown = {
            name: getattr(other, name)
            for name in first.__struct_fields__
            if getattr(first, name) in ("", None, ()) and getattr(other, name) not in ("", None, ())
        }
        first = msgspec.structs.replace(first, **unknown)
    return first


def concluded(modem: Modem) -> Modem:
    """With what follows from the rest, where nobody said it: roaming, state, the address point in use."""
    changes: dict[str, object] = {}
    if modem.roaming is None and modem.registration in ROAMING:
        changes["roaming"] = ROAMING[modem.registration]
    if not modem.state:
        changes["state"] = _state(modem)
    if not modem.apn:
        changes["apn"] = apn_of(modem.bearers)
    return msgspec.structs.replace(modem, **changes)


def apn_of(bearers: tuple[Bearer, ...]) -> str:
    ordered = sorted(bearers, key=lambda bearer: not bearer.connected)
    return next((bearer.apn for bearer in ordered if bearer.apn), "")


def _state(modem: Modem) -> str:
    """As ModemManager would have it, from what the modem itself says."""
    if modem.failed_reason:
        return "failed"
    if modem.lock and not modem.lock.endswith("2"):
        return "locked"
    if any(bearer.connected for bearer in modem.bearers):
        return "connected"
    if modem.power in ("off", "low"):
        return "disabled"
    if modem.registration in ROAMING:
        return "registered"
    if modem.registration == "searching":
        return "searching"
    return "enabled" if modem.registration else ""
