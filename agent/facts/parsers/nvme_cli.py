"""What nvme-cli prints, where smartctl is not installed: `nvme list -o json`, `nvme smart-log -o json`."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from agent.facts.parsers.json_values import at, items_at, number_at, read_json, text_at
from agent.facts.parsers.smartctl import COLDEST_C, HOTTEST_C, MAX_HOURS, MAX_SECTORS, MAX_WEAR_PERCENT
from agent.facts.parsers.smartctl import NVME_DATA_UNIT_BYTES as UNIT
from protocol.sections.health import DiskHealth

MAX_DISKS = 64
KELVIN = 273


def parse_nvme_list(data: bytes) -> tuple[DiskHealth, ...]:
    """The controllers, each as a disk of which nothing is known but name, model and size. Of nvme-cli 2, which tells
    subsystems, and of 1, which tells namespaces."""
    found: dict[str, DiskHealth] = {}
    for device in items_at(read_json(data), "Devices"):
        for subsystem in items_at(device, "Subsystems"):
            for controller in items_at(subsystem, "Controllers"):
                _take(found, text_at(controller, "Controller"), text_at(controller, "ModelNumber"), _size(controller))
        path = text_at(device, "DevicePath")
        name = re.sub(r"n[0-9]+\Z", "", path.removeprefix("/dev/"))
        _take(found, name, text_at(device, "ModelNumber"), number_at(device, "PhysicalSize"))
    return tuple(found.values())[:MAX_DISKS]


def _take(found: dict[str, DiskHealth], name: str, model: str, size: int | None) -> None:
    if re.fullmatch(r"nvme[0-9]{1,4}", name):
        found.setdefault(name, DiskHealth(name=name, model=model[:100], kind="nvme", size=size, rotational=False))


def _size(controller: Any) -> int | None:
    sizes = [number_at(space, "PhysicalSize") for space in items_at(controller, "Namespaces")]
    known = [size for size in sizes if size is not None]
    return min(sum(known), 2**63 - 1) if known else None


def parse_nvme_smart_log(data: bytes, disk: DiskHealth) -> DiskHealth | None:
    """`disk` with what its log says; None where this is no log. The temperature is in kelvins."""
    log = read_json(data)
    warning = number_at(log, "critical_warning", "value", most=255)
    if warning is None:
        warning = number_at(log, "critical_warning", most=255)
    if warning is None or at(log, "percent_used") is None:
        return None
    kelvin = number_at(log, "temperature", most=HOTTEST_C + KELVIN)
    celsius = kelvin - KELVIN if kelvin else None
    units = number_at(log, "data_units_written")
    return msgspec.structs.replace(
        disk,
        passed=warning == 0,
        critical_warning=warning,
        temperature_c=celsius if celsius is not None and celsius >= COLDEST_C else None,
        spare_percent=number_at(log, "avail_spare", most=100),
        spare_threshold_percent=number_at(log, "spare_thresh", most=100),
        wear_percent=number_at(log, "percent_used", most=MAX_WEAR_PERCENT),
        media_errors=number_at(log, "media_errors"),
        logged_errors=number_at(log, "num_err_log_entries"),
        unsafe_shutdowns=number_at(log, "unsafe_shutdowns", most=MAX_SECTORS),
        power_on_hours=number_at(log, "power_on_hours", most=MAX_HOURS),
        power_cycles=number_at(log, "power_cycles", most=MAX_SECTORS),
        written=min(units * UNIT, 2**63 - 1) if units is not None else None,
    )
