"""What smartctl prints of a disk: its JSON (smartmontools 7 and later), and of older ones the text. smartctl(8)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from agent.facts.parsers.json_values import at, flag_at, items_at, number_at, read_json, signed_at, text_at
from protocol.sections.health import DiskHealth, SelfTest

MAX_SCANNED = 64
MAX_NAMES = 32
MAX_HOURS = 50 * 8766
"""Fifty years: no disk has run for longer, and some count minutes or seconds in the same field."""

MAX_SECTORS = 2**32 - 1
"""Of what is counted in a raw value of 48 bits. Above it, the field holds several numbers, or something else."""

MAX_WEAR_PERCENT = 255
"""NVMe counts up to here."""

COLDEST_C, HOTTEST_C = -40, 150
NVME_DATA_UNIT_BYTES = 512_000

STATUS_OPEN_FAILED = 0x02
"""Bit of the exit status: the device could not be opened, or is in a mode of low power and was left in it."""

_REALLOCATED, _REPORTED, _PENDING, _OFFLINE, _CRC, _TOTAL_WRITTEN = 5, 187, 197, 198, 199, 241
_LEFT_BY_VALUE = frozenset({"media_wearout_indicator", "percent_lifetime_remain", "wear_leveling_count"})
"""Attributes whose normalised value falls from 100 to 0 with the life of the disk."""

_LEFT_BY_RAW = frozenset({"remaining_lifetime_perc", "ssd_life_left"})
"""Those whose raw value does."""

_ASLEEP = re.compile(r"\bin (STANDBY|SLEEP|STOPPED)\b.* mode", re.IGNORECASE)
_WRITTEN_UNITS = {"total_lbas_written": 512, "host_writes_32mib": 32 << 20, "lifetime_writes_gib": 1 << 30}


class SmartAnswer(msgspec.Struct, frozen=True):
    """disk: what was said.  reason: why there is nothing."""

    disk: DiskHealth | None = None
    reason: str = ""


class SmartDevice(msgspec.Struct, frozen=True):
    """path: "/dev/sda".  type: for `smartctl -d`."""

    path: str
    type: str


def parse_scan(data: bytes) -> tuple[SmartDevice, ...]:
    """`smartctl --scan --json`. Paths that are no devices, and types that could be another option, are left out."""
    found: dict[tuple[str, str], SmartDevice] = {}
    for entry in items_at(read_json(data), "devices")[:MAX_SCANNED]:
        path, type_ = text_at(entry, "name"), text_at(entry, "type", limit=40)
        if re.fullmatch(r"/dev/[A-Za-z0-9/_.-]+", path) and ".." not in path and re.fullmatch(r"[a-z0-9+,_]+", type_):
            found.setdefault((path, type_), SmartDevice(path, type_))
    return tuple(found.values())


def parse_smartctl(data: bytes, name: str) -> SmartAnswer:
    """`smartctl --json -a DEVICE`, whatever its exit status. name: of the disk, under which it is told.

    A disk behind a controller that hides it, or a bridge that is not known, says little or nothing, with a reason.
    """
    document = read_json(data)
    if not isinstance(document, dict):
        return parse_smartctl_text(data.decode("utf-8", "replace"), name)
    reason = _message(document)
    status = number_at(document, "smartctl", "exit_status") or 0
    if _ASLEEP.search(reason):
        return SmartAnswer(DiskHealth(name=name, model=_model(document), kind=_kind(document), asleep=True))
    disk = _disk(document, name)
    if status & STATUS_OPEN_FAILED or disk == DiskHealth(name=name, kind=disk.kind, model=disk.model):
        return SmartAnswer(None, reason or "it tells nothing of its health")
    return SmartAnswer(disk)


def _message(document: Any) -> str:
    """What smartctl said in words: errors before others."""
    messages = items_at(document, "smartctl", "messages")
    ordered = sorted(messages, key=lambda message: text_at(message, "severity") != "error")
    return next((text for message in ordered if (text := text_at(message, "string"))), "")


def _kind(document: Any) -> str:
    return {"ATA": "ata", "NVMe": "nvme", "SCSI": "scsi"}.get(text_at(document, "device", "protocol"), "")


def _model(document: Any) -> str:
    names = (("model_name",), ("scsi_model_name",), ("product",), ("scsi_product",))
    return next((text for path in names if (text := text_at(document, *path, limit=100))), "")


def _disk(document: Any, name: str) -> DiskHealth:
    rate = number_at(document, "rotation_rate", most=100_000)
    disk = DiskHealth(
        name=name,
        model=_model(document),
        kind=_kind(document),
        size=number_at(document, "user_capacity", "bytes") or number_at(document, "nvme_total_capacity"),
        rotational=rate > 0 if rate is not None else False if _kind(document) == "nvme" else None,
        passed=flag_at(document, "smart_status", "passed"),
        temperature_c=_temperature(document),
        power_on_hours=number_at(document, "power_on_time", "hours", most=MAX_HOURS),
        power_cycles=number_at(document, "power_cycle_count", most=MAX_SECTORS),
        wear_percent=number_at(document, "endurance_used", "current_percent", most=MAX_WEAR_PERCENT),
    )
    if table := items_at(document, "ata_smart_attributes", "table"):
        disk = _with_attributes(disk, table)
    if log := at(document, "nvme_smart_health_information_log"):
        disk = with_nvme_log(disk, log)
    return _with_logs(disk, document)


def _temperature(document: Any) -> int | None:
    """0 of 0 is what a controller says that knows none."""
    celsius = signed_at(document, "temperature", "current", least=COLDEST_C, most=HOTTEST_C)
    return None if celsius == 0 and number_at(document, "temperature", "drive_trip") in (None, 0) else celsius


def _with_attributes(disk: DiskHealth, table: list[Any]) -> DiskHealth:
    """The few attributes that mean the same on every maker's disks; the others are the makers' own."""
    raw = {number_at(row, "id"): number_at(row, "raw", "value", most=MAX_SECTORS) for row in table}
    when = {text_at(row, "name", limit=60): text_at(row, "when_failed") for row in table}
    uncorrectable = [value for id_ in (_OFFLINE, _REPORTED) if (value := raw.get(id_)) is not None]
    return msgspec.structs.replace(
        disk,
        reallocated=raw.get(_REALLOCATED),
        pending=raw.get(_PENDING),
        uncorrectable=max(uncorrectable) if uncorrectable else None,
        crc_errors=raw.get(_CRC),
        wear_percent=disk.wear_percent if disk.wear_percent is not None else _wear(table, disk.rotational),
        written=_written(table),
        failing=tuple(name for name, word in when.items() if word == "now")[:MAX_NAMES],
        failed_before=tuple(name for name, word in when.items() if word == "past")[:MAX_NAMES],
    )


def _wear(table: list[Any], rotational: bool | None) -> int | None:
    """What is gone of a solid-state disk's life, by the attribute that says so most plainly."""
    if rotational:
        return None
    for row in table:
        name = text_at(row, "name").lower()
        if name in _LEFT_BY_RAW and (left := number_at(row, "raw", "value", most=100)) is not None:
            return 100 - left
    for row in table:
        name, value = text_at(row, "name").lower(), number_at(row, "value", most=100)
        if name in _LEFT_BY_VALUE and value is not None:
            return 100 - value
    return None


def _written(table: list[Any]) -> int | None:
    for row in table:
        unit = _WRITTEN_UNITS.get(text_at(row, "name").lower())
        count = number_at(row, "raw", "value", most=2**48)
        if unit is not None and count is not None and number_at(row, "id") == _TOTAL_WRITTEN:
            return min(count * unit, 2**63 - 1)
    return None


def with_nvme_log(disk: DiskHealth, log: Any) -> DiskHealth:
    """log: smartctl's `nvme_smart_health_information_log`. NVM Express, SMART / Health Information Log."""
    units = number_at(log, "data_units_written")
    return msgspec.structs.replace(
        disk,
        critical_warning=number_at(log, "critical_warning", most=255),
        spare_percent=number_at(log, "available_spare", most=100),
        spare_threshold_percent=number_at(log, "available_spare_threshold", most=100),
        wear_percent=number_at(log, "percentage_used", most=MAX_WEAR_PERCENT),
        media_errors=number_at(log, "media_errors"),
        logged_errors=number_at(log, "num_err_log_entries"),
        unsafe_shutdowns=number_at(log, "unsafe_shutdowns", most=MAX_SECTORS),
        power_on_hours=number_at(log, "power_on_hours", most=MAX_HOURS),
        power_cycles=number_at(log, "power_cycles", most=MAX_SECTORS),
        written=min(units * NVME_DATA_UNIT_BYTES, 2**63 - 1) if units is not None else None,
    )


def _with_logs(disk: DiskHealth, document: Any) -> DiskHealth:
    logged = number_at(document, "ata_smart_error_log", "summary", "count")
    if logged is None:
        logged = number_at(document, "ata_smart_error_log", "extended", "count")
    failures = [
        value
        for way in ("read", "write", "verify")
        if (value := number_at(document, "scsi_error_counter_log", way, "total_uncorrected_errors", most=MAX_SECTORS))
        is not None
    ]
    grown = number_at(document, "scsi_grown_defect_list", most=MAX_SECTORS)
    return msgspec.structs.replace(
        disk,
        logged_errors=disk.logged_errors if logged is None else logged,
        media_errors=sum(failures) if failures else disk.media_errors,
        reallocated=disk.reallocated if grown is None else grown,
        self_test=_self_test(document),
    )


def _self_test(document: Any) -> SelfTest:
    """Of the latest one. The values are ATA8-ACS's: 0 and 1 to 2 are no fault of the disk, 15 runs."""
    status = number_at(document, "ata_smart_data", "self_test", "status", "value", most=255)
    if status is None:
        return ""
    high = status >> 4
    if high == 15:
        return "running"
    if 3 <= high <= 8:
        return "failed"
    rows = items_at(document, "ata_smart_self_test_log", "standard", "table")
    return "passed" if rows and flag_at(rows[0], "status", "passed") else ""


def parse_smartctl_text(text: str, name: str) -> SmartAnswer:
    """smartctl before 7.0, which has no JSON: what its `-i -H` say. Other attributes need a newer one."""
    values: dict[str, str] = {}
    for line in text.splitlines()[:2000]:
        key, colon, value = line.partition(":")
        if colon:
            values.setdefault(key.strip().lower(), value.strip()[:100])
    model = values.get("device model") or f"{values.get('vendor', '')} {values.get('product', '')}".strip()
    verdicts = ("smart overall-health self-assessment test result", "smart health status")
    verdict = next((values[key].upper() for key in verdicts if values.get(key)), "")
    size = re.match(r"([0-9,]{1,24}) bytes", values.get("user capacity", ""))
    digits = size[1].replace(",", "") if size else ""
    rate = values.get("rotation rate", "")
    celsius = re.match(r"([0-9]{1,3}) C\b", values.get("current drive temperature", ""))
    if not model:
        said = re.search(r"^/dev/[^:\n]+: *(\S[^\n]{0,200})$", text, re.MULTILINE)
        reason = said[1].strip() if said else "smartctl printed nothing that can be read"
        return SmartAnswer(None, reason[:200])
    degrees = int(celsius[1]) if celsius else None
    return SmartAnswer(
        DiskHealth(
            name=name,
            model=model[:100],
            kind="scsi" if "transport protocol" in values else "",
            size=int(digits) if digits and len(digits) < 19 else None,
            rotational=True if rate.endswith("rpm") else False if rate.startswith("Solid State") else None,
            passed=verdict in ("PASSED", "OK") if verdict else None,
            temperature_c=degrees if degrees is not None and degrees <= HOTTEST_C else None,
        )
    )
