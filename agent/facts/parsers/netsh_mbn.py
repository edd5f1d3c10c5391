"""What `netsh mbn show interfaces` of Windows prints. Pure; from samples: it has never run beside us.

Labels are in the system's language, so what can be told by the form of its value is, and the words only of languages
that are known here.
"""

from __future__ import annotations

import re

from agent.facts.parsers import cellular
from agent.facts.parsers.cellular import MAX_MODEMS, dbm, text_of
from protocol.sections.modem import Modem

MAX_TEXT_CHARS = 64 * 1024

STATES = {
    "connected": "connected",
    "conectado": "connected",
    "verbunden": "connected",
    "connecté": "connected",
    "connesso": "connected",
    "not connected": "enabled",
    "no conectado": "enabled",
    "nicht verbunden": "enabled",
    "non connecté": "enabled",
    "non connesso": "enabled",
    "disconnected": "enabled",
}
"""Of the line that follows the hardware address and what newer systems put in between."""

ROAMING = {"not roaming": False, "roaming": True, "partner": True}
_GUID = re.compile(r"\{[0-9A-Fa-f-]{36}\}")


def parse_netsh_mbn(text: str) -> tuple[Modem, ...]:
    """One modem an interface."""
    modems: list[Modem] = []
    lines: list[tuple[str, str]] = []
    for line in [*text[:MAX_TEXT_CHARS].splitlines(), ""]:
        key, colon, value = line.partition(":")
        if colon and value.strip():
            lines.append((key.strip().lower(), value.strip()))
        elif not line.strip():
            if any(_GUID.fullmatch(value) for _, value in lines):
                modems.append(_modem(lines))
            lines = []
    return tuple(modems[:MAX_MODEMS])


def _modem(lines: list[tuple[str, str]]) -> Modem:
    named = dict(lines)
    values = [value for _, value in lines]
    state = next((STATES[value.lower()] for value in values if value.lower() in STATES), "")
    rssi = next((found.group(1) for value in values if (found := re.fullmatch(r"\d+ \((-\d+) dBm\)", value))), "")
    quality = next((value for value in values if re.fullmatch(r"[0-9]{1,3}%", value)), "")
    provider = named.get("provider name", "")
    roaming = ROAMING.get(named.get("roaming", "").lower())
    return Modem(
        name=text_of(values[0]),
        by="netsh",
        manufacturer=text_of(named.get("manufacturer")),
        model=text_of(named.get("model")),
        firmware=text_of(named.get("firmware version")),
        state=state,
        registration={True: "roaming", False: "home"}.get(roaming, "") if roaming is not None else "",
        roaming=roaming,
        operator="" if re.fullmatch(r"[0-9 ]+", provider) else text_of(provider),
        operator_code=cellular.operator_code(provider.replace(" ", "")),
        signal_percent=cellular.percent(quality),
        rssi_dbm=dbm(rssi),
    )
