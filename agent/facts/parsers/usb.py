"""USB devices from the values of Linux' sysfs.

Documentation/ABI/testing/sysfs-bus-usb in the kernel; usb.org, "Defined Class Codes".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from protocol.sections.devices import UsbDevice

MAX_TEXT_CHARS = 100
HUB = "09"
KINDS = {
    "01": "audio",
    "02": "communication",
    "03": "keyboard or mouse",
    "06": "camera",
    "07": "printer",
    "08": "storage",
    "0a": "communication",
    "0b": "smart card",
    "0e": "video",
    "e0": "wireless",
}
"""By bInterfaceClass. 03 are all that people point, type or play with."""


class UsbFunction(msgspec.Struct, frozen=True):
    """kind: bInterfaceClass, two hexadecimal digits.  driver: whether one is bound to it."""

    kind: str
    driver: bool


def usb_device(port: str, values: Mapping[str, str], functions: Sequence[UsbFunction]) -> UsbDevice | None:
    """values: of the device's folder, by file. None for a hub, which is part of the machine, and without ids."""
    maker_id, product_id = values.get("idVendor", ""), values.get("idProduct", "")
    if not (re.fullmatch(r"[0-9a-f]{4}", maker_id) and re.fullmatch(r"[0-9a-f]{4}", product_id)):
        return None
    if values.get("bDeviceClass", "") == HUB:
        return None
    speed = re.match(r"[0-9]{1,6}", values.get("speed", ""))
    kinds = (KINDS.get(function.kind, "") for function in functions)
    return UsbDevice(
        port=port[:40],
        id=f"{maker_id}:{product_id}",
        maker=_text(values.get("manufacturer", "")),
        product=_text(values.get("product", "")),
        kinds=tuple(sorted({kind for kind in kinds if kind})),
        speed_mbps=int(speed[0]) if speed else None,
        driver=any(function.driver for function in functions) if functions else None,
    )


def _text(value: str) -> str:
    return " ".join(value.split())[:MAX_TEXT_CHARS]
