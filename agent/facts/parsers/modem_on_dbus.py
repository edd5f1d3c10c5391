"""One modem of ModemManager's, from its objects' properties as D-Bus carries them. Pure.

Enumerations: ModemManager-enums.h. A value of tomorrow is "" here, and no failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.facts.parsers import cellular
from agent.facts.parsers.cellular import MAX_BEARERS, MAX_REASON_CHARS, db, dbm, text_of
from protocol.sections.modem import Bearer, Modem

MODEM = "org.freedesktop.ModemManager1.Modem"
MODEM_3GPP = MODEM + ".Modem3gpp"
SIGNAL = MODEM + ".Signal"
BEARER = "org.freedesktop.ModemManager1.Bearer"

Properties = Mapping[str, Any]
Interfaces = Mapping[str, Properties]

STATES = {
    -1: "failed",
    0: "unknown",
    1: "initializing",
    2: "locked",
    3: "disabled",
    4: "disabling",
    5: "enabling",
    6: "enabled",
    7: "searching",
    8: "registered",
    9: "disconnecting",
    10: "connecting",
    11: "connected",
}
FAILED_REASONS = {
    1: "unknown",
    2: "sim-missing",
    3: "sim-error",
    4: "unknown-capabilities",
    5: "esim-without-profiles",
}
POWER = {1: "off", 2: "low", 3: "on"}
LOCKS = {
    2: "sim-pin",
    3: "sim-pin2",
    4: "sim-puk",
    5: "sim-puk2",
    6: "ph-sp-pin",
    7: "ph-sp-puk",
    8: "ph-net-pin",
    9: "ph-net-puk",
    10: "ph-sim-pin",
    11: "ph-corp-pin",
    12: "ph-corp-puk",
    13: "ph-fsim-pin",
    14: "ph-fsim-puk",
    15: "ph-netsub-pin",
    16: "ph-netsub-puk",
}
REGISTRATIONS = {**cellular.REGISTRATIONS_3GPP, 11: "attached-rlos"}

TECHNOLOGIES = (
    (1 << 15, "5gnr"),
    (1 << 14, "lte"),
    (1 << 16, "lte-cat-m"),
    (1 << 17, "lte-nb-iot"),
    (1 << 9, "hspa+"),
    (1 << 8, "hspa"),
    (1 << 7, "hsupa"),
    (1 << 6, "hsdpa"),
    (1 << 5, "umts"),
    (1 << 13, "evdo"),
    (1 << 12, "evdo"),
    (1 << 11, "evdo"),
    (1 << 10, "1xrtt"),
    (1 << 4, "edge"),
    (1 << 3, "gprs"),
    (1 << 2, "gsm"),
    (1 << 1, "gsm"),
)
"""The best first: a modem names all that its cell offers."""

MEASURED = ("Nr5g", "Lte", "Umts", "Gsm", "Cdma", "Evdo")


def parse_modem(path: str, interfaces: Interfaces, bearers: Sequence[Properties] = ()) -> Modem:
    """path: of its object.  interfaces: its properties by interface, variants unpacked.  bearers: those of its
    bearers."""
    generic, gsm = _properties(interfaces, MODEM), _properties(interfaces, MODEM_3GPP)
    lock = _word(LOCKS, generic.get("UnlockRequired"))
    technology = technology_of(generic.get("AccessTechnologies"))
    found = Modem(
        name=text_of(generic.get("PrimaryPort")) or text_of(path.rpartition("/")[2]),
        by="modemmanager",
        manufacturer=text_of(generic.get("Manufacturer")),
        model=text_of(generic.get("Model")),
        firmware=text_of(generic.get("Revision")),
        state=_word(STATES, generic.get("State")),
        failed_reason=_word(FAILED_REASONS, generic.get("StateFailedReason")),
        lock=lock,
        unlock_tries=_tries(generic, lock),
        power=_word(POWER, generic.get("PowerState")),
        registration=_word(REGISTRATIONS, gsm.get("RegistrationState")),
        operator=text_of(gsm.get("OperatorName")),
        operator_code=cellular.operator_code(gsm.get("OperatorCode")),
        technology=technology,
        signal_percent=_quality(generic.get("SignalQuality")),
        bearers=tuple(parse_bearer(bearer) for bearer in bearers[:MAX_BEARERS]),
    )
    return cellular.concluded(cellular.merged(found, _measures(_properties(interfaces, SIGNAL), technology)))


def parse_bearer(bearer: Properties) -> Bearer:
    """Of org.freedesktop.ModemManager1.Bearer. ConnectionError: (name, text), of 1.18 on."""
    wanted, stats = _properties(bearer, "Properties"), _properties(bearer, "Stats")
    connected = bearer.get("Connected")
    error = bearer.get("ConnectionError")
    said = text_of(error[1], MAX_REASON_CHARS) if isinstance(error, list | tuple) and len(error) > 1 else ""
    allowed = wanted.get("allow-roaming")
    return Bearer(
        connected=connected if isinstance(connected, bool) else None,
        apn=text_of(wanted.get("apn"), 100),
        interface=text_of(bearer.get("Interface")),
        ip_type=_word({1: "ipv4", 2: "ipv6", 4: "ipv4v6"}, wanted.get("ip-type")),
        roaming_allowed=allowed if isinstance(allowed, bool) else None,
        error="" if connected else said,
        rx_bytes=_count(stats.get("total-rx-bytes", stats.get("rx-bytes"))),
        tx_bytes=_count(stats.get("total-tx-bytes", stats.get("tx-bytes"))),
    )


def technology_of(flags: object) -> str:
    """The best of those that are in use; LTE and 5G together are what a non-standalone 5G cell is."""
    value = _int(flags)
    if value <= 0:
        return ""
    if value & (1 << 15) and value & (1 << 14):
        return "lte+5gnr"
    return next((name for flag, name in TECHNOLOGIES if value & flag), "")


def _measures(signal: Properties, technology: str) -> Modem:
    """Of the technology in use. Where LTE carries a 5G cell beside it, LTE's: it is what is held on to."""
    for name in ("Lte", *MEASURED) if technology == "lte+5gnr" else MEASURED:
        measures = _properties(signal, name)
        found = Modem(
            rssi_dbm=dbm(measures.get("rssi")),
            rscp_dbm=dbm(measures.get("rscp")),
            rsrp_dbm=dbm(measures.get("rsrp")),
            rsrq_db=db(measures.get("rsrq")),
            snr_db=db(measures.get("snr")),
        )
        if found.signal_dbm is not None:
            return found
    return Modem()


def _quality(said: object) -> int | None:
    """(percent, recent). 0 is what it begins with."""
    return (cellular.percent(said[0]) or None) if isinstance(said, list | tuple) and said else None


def _tries(generic: Properties, lock: str) -> int | None:
    retries = generic.get("UnlockRetries")
    if not lock or not isinstance(retries, Mapping):
        return None
    number = next((number for number, name in LOCKS.items() if name == lock), 0)
    return cellular.within(retries.get(number), 0, 99)


def _properties(of: Mapping[str, Any], name: str) -> Properties:
    found = of.get(name)
    return found if isinstance(found, Mapping) else {}


def _word(words: Mapping[int, str], value: object) -> str:
    return words.get(value, "") if isinstance(value, int) and not isinstance(value, bool) else ""


def _int(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None
