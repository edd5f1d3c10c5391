"""Windows' own word on its disks: MSFT_PhysicalDisk as `wmic ... get /value` prints it, an empty line between disks.

Source: learn.microsoft.com, "MSFT_PhysicalDisk class".
"""

from __future__ import annotations

from collections.abc import Iterator

from protocol.sections.health import DiskHealth

MAX_DISKS = 64
_HEALTHY, _WARNING, _UNHEALTHY = "0", "1", "2"
_HDD, _SSD = "3", "4"
_KINDS = {"3": "ata", "11": "ata", "17": "nvme", "10": "scsi", "1": "scsi"}
"""By BusType: ATA, SATA, NVMe, SAS, SCSI."""


def parse_physical_disks(data: bytes) -> tuple[DiskHealth, ...]:
    """UTF-16 with a byte order mark, as Windows' programs write it into pipes, or UTF-8."""
    found = []
    for values in _instances(_text(data)):
        number, model = values.get("DeviceId", ""), values.get("FriendlyName") or values.get("Model", "")
        if not (number.isascii() and number.isdigit() and len(number) < 6):
            continue
        size, media, health = values.get("Size", ""), values.get("MediaType", ""), values.get("HealthStatus", "")
        found.append(
            DiskHealth(
                name=f"PhysicalDrive{int(number)}",
                model=" ".join(model.split())[:100],
                kind=_KINDS.get(values.get("BusType", ""), ""),
                size=int(size) if size.isascii() and size.isdigit() and len(size) < 19 else None,
                rotational={_HDD: True, _SSD: False}.get(media),
                passed={_HEALTHY: True, _UNHEALTHY: False}.get(health),
                failing=("HealthStatus",) if health in (_WARNING, _UNHEALTHY) else (),
            )
        )
        if len(found) == MAX_DISKS:
            break
    return tuple(found)


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace")


def _instances(text: str) -> Iterator[dict[str, str]]:
    values: dict[str, str] = {}
    for line in [*text.splitlines(), ""]:
        name, equals, value = line.partition("=")
        if equals:
            if name.strip() in values:  # no empty line between two
                yield values
                values = {}
            values[name.strip()] = value.strip()[:200]
        elif values and not line.strip():
            yield values
            values = {}
