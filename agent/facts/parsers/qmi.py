"""What qmicli, uqmi and mbimcli print. Pure. For devices without ModemManager: small routers, mostly."""

from __future__ import annotations

import json
import re
from typing import Any

from agent.facts.parsers import cellular
from agent.facts.parsers.cellular import db, dbm, text_of
from protocol.sections.modem import Modem

MAX_TEXT_CHARS = 64 * 1024

RADIOS = {"lte": "lte", "5gnr": "5gnr", "umts": "umts", "gsm": "gsm", "cdma-1x": "1xrtt", "cdma-1xevdo": "evdo"}
"""QMI's names of radio interfaces, in ModemManager's words."""

QMI_REGISTRATIONS = {
    "registered": "home",
    "not-registered": "idle",
    "not-registered-searching": "searching",
    "searching": "searching",
    "registration-denied": "denied",
}
"""Whether at home is said beside it."""

QMI_CARD = {"absent": "sim-missing", "error": "sim-error"}
MBIM_READY = {"sim-not-inserted": "sim-missing", "bad-sim": "sim-error", "failure": "unknown"}
MBIM_REGISTRATIONS = {
    "deregistered": "idle",
    "searching": "searching",
    "home": "home",
    "roaming": "roaming",
    "partner": "roaming",
    "denied": "denied",
}


def parse_qmicli(text: str) -> Modem:
    """Of --nas-get-signal-strength, --nas-get-signal-info, --nas-get-serving-system, --nas-get-cell-location-info,
    --uim-get-card-status and --dms-get-*: any of them, one after the other."""
    text = text[:MAX_TEXT_CHARS]
    serving = _section(text, "serving system")
    measured = _section(text, "signal strength|signal info|cell location info")
    radio = _one(serving, r"\[0\]: '([a-z0-9-]+)'") or _one(measured, r"Network '([a-z0-9-]+)'")
    if not radio and "LTE" in measured:
        radio = "lte"
    roaming = {"on": True, "off": False}.get(_one(serving, r"Roaming status: '(\w+)'"))
    registration = QMI_REGISTRATIONS.get(_one(serving, r"Registration state: '([a-z-]+)'"), "")
    return cellular.concluded(
        Modem(
            by="qmi",
            manufacturer=text_of(_one(text, r"Manufacturer: '([^'\n]*)'")),
            model=text_of(_one(text, r"Model: '([^'\n]*)'")),
            failed_reason=QMI_CARD.get(_one(text, r"Card state: '([a-z]+)"), ""),
            lock={"pin": "sim-pin", "puk": "sim-puk"}.get(_one(text, r"Application state: '(pin|puk)"), ""),
            registration="roaming" if registration == "home" and roaming else registration,
            roaming=roaming if registration == "home" else None,
            operator=text_of(_one(serving, r"Description: '([^'\n]*)'")),
            operator_code=cellular.code_of(_one(serving, r"MCC: '([0-9]+)'"), _one(serving, r"MNC: '([0-9]+)'")),
            technology=RADIOS.get(radio, ""),
            rssi_dbm=dbm(_measure(measured, "RSSI", radio)),
            rsrp_dbm=dbm(_measure(measured, "RSRP", radio)),
            rsrq_db=db(_measure(measured, "RSRQ", radio)),
            snr_db=db(_measure(measured, "SNR", radio)),
        )
    )


def parse_uqmi(*texts: str) -> Modem:
    """JSON of `uqmi --get-signal-info`, `--get-serving-system`, `--get-system-info` and `--get-pin-status`, any of
    them. snr is in tenths of a dB."""
    modem = Modem(by="qmi")
    for text in texts:
        modem = cellular.merged(modem, _uqmi(_object(text)))
    return cellular.concluded(modem)


def parse_mbimcli(text: str) -> Modem:
    """Of --query-subscriber-ready-status, --query-registration-state, --query-signal-state, one after the other; also
    where a script made one line of each."""
    text = text[:MAX_TEXT_CHARS]
    ready = _one(text, r"Ready state: '([a-z-]+)'")
    provider = _one(text, r"Provider name: '([^'\n]*)'")
    return cellular.concluded(
        Modem(
            by="mbim",
            failed_reason=MBIM_READY.get(ready, ""),
            lock="sim-pin" if ready == "device-locked" else "",
            registration=MBIM_REGISTRATIONS.get(_one(text, r"Register state: '([a-z]+)'"), ""),
            operator="" if provider == "unknown" else text_of(provider),
            operator_code=cellular.operator_code(_one(text, r"Provider ID: '([0-9]+)'")),
            technology=_mbim_technology(_one(text, r"Available data classes: '([a-z0-9, -]+)'")),
            rssi_dbm=_mbim_rssi(_one(text, r"RSSI \[0-31,99\]: '([0-9]{1,2})'")),
        )
    )


def _uqmi(tree: dict[str, Any]) -> Modem:
    cells = {name: cell for name in ("5gnr", "lte", "wcdma", "gsm") if isinstance(cell := tree.get(name), dict)}
    served = next((name for name, cell in cells.items() if cell.get("service_status") == "available"), "")
    cell = cells.get(served, tree)
    registration = QMI_REGISTRATIONS.get(text_of(tree.get("registration")).replace("_", "-"), "")
    roaming = cell.get("roaming_status", cell.get("roaming")) in ("on", True)
    if served or registration == "home":
        registration = "roaming" if roaming else "home"
    found = Modem(
        registration=registration,
        operator=text_of(tree.get("plmn_description")),
        operator_code=_plmn(cell, "mcc", "mnc") or _plmn(tree, "plmn_mcc", "plmn_mnc"),
        technology={"wcdma": "umts"}.get(served, served),
        lock={"not_verified": "sim-pin", "blocked": "sim-puk"}.get(text_of(tree.get("pin1_status")), ""),
    )
    return cellular.merged(found, _uqmi_signal(tree))


def _uqmi_signal(tree: dict[str, Any]) -> Modem:
    kind = tree.get("type")
    if not isinstance(kind, str):
        return Modem()
    snr = cellular.number_of(tree.get("snr"))
    return Modem(
        technology={"wcdma": "umts"}.get(kind, RADIOS.get(kind, "")),
        rssi_dbm=dbm(tree.get("rssi")),
        rsrp_dbm=dbm(tree.get("rsrp")),
        rsrq_db=db(tree.get("rsrq")),
        snr_db=db(snr / 10) if snr is not None else None,
    )


def _plmn(cell: dict[str, Any], mcc: str, mnc: str) -> str:
    """As numbers they lost their leading zeros."""
    first, second = cell.get(mcc), cell.get(mnc)
    if isinstance(first, int) and isinstance(second, int) and 0 <= second < 1000:
        return cellular.code_of(f"{first:03}", f"{second:02}")
    return cellular.code_of(first, second)


def _object(text: str) -> dict[str, Any]:
    try:
        tree = json.loads(text[:MAX_TEXT_CHARS])
    except (ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}


def _section(text: str, name: str) -> str:
    """From "Successfully got NAME" to the next such line."""
    found = re.search(rf"Successfully got (?:{name})", text)
    return text[found.end() :].partition("Successfully got")[0] if found else ""


def _measure(text: str, name: str, radio: str) -> str:
    """Below its heading for each radio interface, or beside its name for each cell; the first is the serving one's."""
    blocks = re.findall(rf"^\s*{name}:\s*\n((?:\s+Network '[^\n]*\n?)+)", text, re.MULTILINE)
    value = _one(blocks[0], rf"Network '{re.escape(radio)}': '(-?[0-9.]{{1,8}})") if blocks else ""
    return value or _one(text, rf"^\s*{name}: '(-?[0-9.]{{1,8}})")


def _mbim_technology(classes: str) -> str:
    names = {name.strip() for name in classes.split(",")}
    if names & {"5g-sa", "5g-nsa"}:
        return "5gnr" if "5g-sa" in names else "lte+5gnr"
    return next((name for name in ("lte", "hsupa", "hsdpa", "umts", "edge", "gprs") if name in names), "")


def _mbim_rssi(text: str) -> int | None:
    value = cellular.within(text, 0, 31)
    return -113 + 2 * value if value is not None else None


def _one(text: str, pattern: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1) if found else ""
