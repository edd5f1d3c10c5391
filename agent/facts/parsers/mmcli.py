"""What mmcli prints: JSON (-J), key-values (-K), and the text for people, old and new, where it knows neither. Pure.

For systems where D-Bus is only reachable through it. Each is brought to one table of dotted keys, as -K has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from agent.facts.parsers import cellular
from agent.facts.parsers.cellular import MAX_BEARERS, MAX_MODEMS, MAX_REASON_CHARS, db, dbm, text_of
from protocol.sections.modem import Bearer, Modem

MAX_KEYS = 2000
MAX_DEPTH = 12
BEST_FIRST = ("5gnr", "lte", "lte-cat-m", "lte-nb-iot", "hspa+", "hspa", "hsupa", "hsdpa", "umts", "evdo", "edge")

TEXT_KEYS = {
    "manufacturer": "modem.generic.manufacturer",
    "model": "modem.generic.model",
    "firmware revision": "modem.generic.revision",
    "revision": "modem.generic.revision",
    "primary port": "modem.generic.primary-port",
    "lock": "modem.generic.unlock-required",
    "unlock retries": "modem.generic.unlock-retries",
    "state": "modem.generic.state",
    "failed reason": "modem.generic.state-failed-reason",
    "power state": "modem.generic.power-state",
    "access tech": "modem.generic.access-technologies",
    "signal quality": "modem.generic.signal-quality.value",
    "operator id": "modem.3gpp.operator-code",
    "operator name": "modem.3gpp.operator-name",
    "registration": "modem.3gpp.registration-state",
    "connected": "bearer.status.connected",
    "connection error message": "bearer.status.connection-error.message",
    "interface": "bearer.status.interface",
    "apn": "bearer.properties.apn",
    "ip type": "bearer.properties.ip-type",
    "roaming": "bearer.properties.roaming",
    "total-bytes rx": "bearer.stats.total-bytes-rx",
    "total-bytes tx": "bearer.stats.total-bytes-tx",
}
"""What the text for people calls them. "current" and "supported" are said twice, and needed by nobody here."""

_ABSENT = frozenset({"", "--", "unknown", "none"})
_PATH = re.compile(r"/org/freedesktop/ModemManager1/(Modem|Bearer)/([0-9]{1,6})\b")

Table = dict[str, str]


def parse_paths(text: str, kind: str = "Modem") -> tuple[str, ...]:
    """The modems' (or bearers') numbers that a list or a modem names, in its order."""
    found = (number for one, number in _PATH.findall(text[:100_000]) if one == kind)
    return tuple(dict.fromkeys(found))[:MAX_MODEMS]


def parse_mmcli_modem(text: str, signal: str = "", bearers: tuple[str, ...] = ()) -> Modem:
    """text: of `mmcli -m N`.  signal: of `mmcli -m N --signal-get`.  bearers: of `mmcli -b N`, each."""
    table = read_table(text)
    technology = _technology(table)
    lock = _word(table, "modem.generic.unlock-required")
    found = Modem(
        name=text_of(_word(table, "modem.generic.primary-port")),
        by="mmcli",
        manufacturer=text_of(_word(table, "modem.generic.manufacturer")),
        model=text_of(_word(table, "modem.generic.model").replace('","', " ")),
        firmware=text_of(_word(table, "modem.generic.revision")),
        state=_word(table, "modem.generic.state"),
        failed_reason=_word(table, "modem.generic.state-failed-reason"),
        lock=lock,
        unlock_tries=_tries(table, lock),
        power=_word(table, "modem.generic.power-state"),
        registration=_word(table, "modem.3gpp.registration-state"),
        operator=text_of(_word(table, "modem.3gpp.operator-name")),
        operator_code=cellular.operator_code(_word(table, "modem.3gpp.operator-code")),
        technology=technology,
        signal_percent=cellular.percent(table.get("modem.generic.signal-quality.value", "")),
        bearers=tuple(parse_mmcli_bearer(bearer) for bearer in bearers[:MAX_BEARERS]),
        apn=text_of(_word(table, "modem.3gpp.eps.initial-bearer.settings.apn"), 100) if not bearers else "",
    )
    return cellular.concluded(cellular.merged(found, parse_mmcli_signal(signal, technology)))


def parse_mmcli_signal(text: str, technology: str = "") -> Modem:
    """The measures alone, of the best technology that has some."""
    table = read_table(text)
    for name in ("5g", "lte", "umts", "gsm", "cdma1x", "evdo") if technology != "lte+5gnr" else ("lte", "5g"):
        values = {key: table.get(f"modem.signal.{name}.{key}") for key in ("rssi", "rscp", "rsrp", "rsrq", "snr")}
        found = Modem(
            rssi_dbm=dbm(values["rssi"]),
            rscp_dbm=dbm(values["rscp"]),
            rsrp_dbm=dbm(values["rsrp"]),
            rsrq_db=db(values["rsrq"]),
            snr_db=db(values["snr"]),
        )
        if found.signal_dbm is not None:
            return found
    return Modem()


def parse_mmcli_bearer(text: str) -> Bearer:
    table = read_table(text)
    connected = _word(table, "bearer.status.connected")
    roaming = _word(table, "bearer.properties.roaming")
    return Bearer(
        connected={"yes": True, "no": False}.get(connected),
        apn=text_of(_word(table, "bearer.properties.apn"), 100),
        interface=text_of(_word(table, "bearer.status.interface")),
        ip_type=_word(table, "bearer.properties.ip-type"),
        roaming_allowed={"allowed": True, "forbidden": False}.get(roaming),
        error=text_of(_word(table, "bearer.status.connection-error.message"), MAX_REASON_CHARS),
        rx_bytes=_count(table, "rx"),
        tx_bytes=_count(table, "tx"),
    )


def read_table(text: str) -> Table:
    """Whatever form it has; empty for what is none of them."""
    if text.lstrip()[:1] == "{":
        return _from_json(text)
    lines = text.splitlines()[:MAX_KEYS]
    keyed = [line.partition(" : ") for line in lines if re.match(r"[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9.\[\]-]+ *: ", line)]
    if keyed:
        return {key.strip(): value.strip() for key, _, value in keyed}
    return _from_text(lines)


def _from_json(text: str) -> Table:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    table: Table = {}
    _flatten(tree, "", table, MAX_DEPTH)
    return table


def _flatten(value: Any, key: str, table: Table, depth: int) -> None:
    if len(table) >= MAX_KEYS or depth == 0:
        return
    if isinstance(value, Mapping):
        for name, one in value.items():
            _flatten(one, f"{key}.{name}" if key else str(name), table, depth - 1)
    elif isinstance(value, list):
        table[f"{key}.length"] = str(len(value))
        for number, one in enumerate(value, 1):
            _flatten(one, f"{key}.value[{number}]", table, depth - 1)
    elif isinstance(value, str | int | float):
        table[key] = str(value)[:1000]


def _from_text(lines: list[str]) -> Table:
    """Columns of "group | key: value"; before 1.10 values stand in quotes."""
    table: Table = {}
    for line in lines:
        found = re.match(r"[^|]{0,40}\|\s*([a-z0-9 /-]{1,40}?)\s*: ?(.*)$", line)
        key = TEXT_KEYS.get(found.group(1)) if found else None
        if found and key is not None:
            quoted = re.match(r"\s*'([^']*)'", found.group(2))
            table.setdefault(key, (quoted.group(1) if quoted else found.group(2)).strip())
    return table


def _word(table: Table, key: str) -> str:
    value = text_of(table.get(key, ""), 120)
    return "" if value in _ABSENT else value


def _technology(table: Table) -> str:
    """From a list or a line: "lte, 5gnr"."""
    key = "modem.generic.access-technologies"
    said = {
        word.strip()
        for name, value in table.items()
        if name == key or name.startswith(f"{key}.value[")
        for word in value.split(",")
    }
    if {"lte", "5gnr"} <= said:
        return "lte+5gnr"
    known = (*BEST_FIRST, "gprs", "gsm")
    return next((name for name in known if name in said or (name == "hspa+" and "hspa-plus" in said)), "")


def _tries(table: Table, lock: str) -> int | None:
    """ "sim-pin (3), sim-puk (10)", or a list of such."""
    key = "modem.generic.unlock-retries"
    said = " ".join(value for name, value in table.items() if name == key or name.startswith(f"{key}.value["))
    found = re.search(rf"(?<![\w-]){re.escape(lock)} \(([0-9]{{1,2}})\)", said) if lock else None
    return int(found.group(1)) if found else None


def _count(table: Table, way: str) -> int | None:
    for key in (f"bearer.stats.total-bytes-{way}", f"bearer.stats.bytes-{way}"):
        value = table.get(key, "")
        if value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
    return None
