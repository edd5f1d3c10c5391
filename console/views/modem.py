"""What mobile-broadband modems look like to a person."""

from __future__ import annotations

from console.render import print_pairs
from console.views.cells import filled
from protocol.sections.modem import Bearer, Modem, Modems
from protocol.units import size_text

RADIO = {"soft": "switched off (flight mode, or a setting)", "hard": "switched off by a switch or key"}


def modem_view(section: Modems) -> None:
    if not section.modems:
        print("no mobile modem")
    if section.radio_off:
        print_pairs([("mobile radio", RADIO.get(section.radio_off, section.radio_off))])
    for modem in section.modems:
        print_pairs(_modem(modem))
        for bearer in modem.bearers:
            print_pairs([("connection", _bearer(bearer))])


def _modem(modem: Modem) -> list[tuple[str, str]]:
    tries = f" ({modem.unlock_tries} tries left)" if modem.unlock_tries is not None else ""
    operator = f"{modem.operator} {modem.operator_code}".strip()
    roaming = {True: ", roaming", False: "", None: ""}[modem.roaming]
    return filled(
        ("modem", f"{modem.name} {modem.manufacturer} {modem.model}".strip()),
        ("firmware", modem.firmware),
        ("state", f"{modem.state}{': ' + modem.failed_reason if modem.failed_reason else ''}"),
        ("SIM asks for", f"{modem.lock}{tries}" if modem.lock else ""),
        ("network", f"{modem.registration}{': ' + operator if operator else ''}{roaming}".strip()),
        ("technology", f"{modem.technology} {modem.band}".strip()),
        ("signal", signal_text(modem)),
        ("APN", modem.apn),
        ("asked by", modem.by),
    )


def signal_text(modem: Modem) -> str:
    """Figures, and what they mean."""
    figures = [
        ("RSRP", modem.rsrp_dbm, "dBm"),
        ("RSRQ", modem.rsrq_db, "dB"),
        ("SNR", modem.snr_db, "dB"),
        ("RSCP", modem.rscp_dbm, "dBm"),
        ("RSSI", modem.rssi_dbm, "dBm"),
    ]
    said = [f"{name} {value} {unit}" for name, value, unit in figures if value is not None]
    said += [f"{modem.signal_percent} %"] if modem.signal_percent is not None else []
    word = f"{modem.signal_word}: " if modem.signal_word is not None else ""
    return word + ", ".join(said) if said else ""


def _bearer(bearer: Bearer) -> str:
    state = {True: "connected", False: "not connected", None: ""}[bearer.connected]
    counted = ""
    if bearer.rx_bytes or bearer.tx_bytes:
        counted = f"{size_text(bearer.rx_bytes or 0)} received, {size_text(bearer.tx_bytes or 0)} sent"
    roaming = "not allowed abroad" if bearer.roaming_allowed is False else ""
    parts = (bearer.apn, state, bearer.interface, bearer.ip_type, counted, roaming, bearer.error)
    return ", ".join(part for part in parts if part)
