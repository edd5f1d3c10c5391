"""The section on what is plugged in: USB devices, and printers."""

from __future__ import annotations

from typing import Literal

from protocol.codec import Record
from protocol.sections.base import Count, Section


class UsbDevice(Record, frozen=True, kw_only=True):
    """port: "1-4.2", the way through the hubs.  id: maker and product, "046d:c52b".  kinds: of usb.org's classes,
    "storage", "keyboard or mouse".  speed_mbps: megabits a second. Without its serial number.

    driver: whether any of its functions has one; None for a device without functions.
    """

    port: str
    id: str
    maker: str = ""
    product: str = ""
    kinds: tuple[str, ...] = ()
    speed_mbps: Count | None = None
    driver: bool | None = None


class Printer(Record, frozen=True, kw_only=True):
    """state: idle, printing, stopped or "".  reasons: as RFC 8011, 5.4.12 names them, "media-empty", "toner-low",
    with -error, -warning or -report at their ends.  accepting: whether it takes jobs.  waiting: jobs."""

    name: str
    state: Literal["idle", "printing", "stopped", ""] = ""
    reasons: tuple[str, ...] = ()
    accepting: bool | None = None
    waiting: Count = 0
    default: bool = False


class Devices(Section, frozen=True, kw_only=True):
    """usb: without hubs, by port.  over_current: ports that were switched off since something drew too much."""

    usb: tuple[UsbDevice, ...] = ()
    over_current: tuple[str, ...] = ()
    printers: tuple[Printer, ...] = ()
