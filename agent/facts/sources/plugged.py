"""Sources on what is plugged in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from agent.facts.parsers.printers import parse_printers
from agent.facts.parsers.usb import UsbFunction, usb_device
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.command import run
from agent.facts.sources.files import read_line, read_number
from protocol.sections.devices import Printer, UsbDevice

USB = Path("/sys/bus/usb/devices")
QUEUES = Path("/etc/cups/printers.conf")
"""Where CUPS keeps its queues: without one, it is not even asked, since a question would start it."""

MAX_DEVICES = 256
MAX_PORTS = 256
LPSTAT_S = 8.0
_FILES = ("idVendor", "idProduct", "manufacturer", "product", "bDeviceClass", "speed")


def _usb() -> tuple[UsbDevice, ...]:
    names = sorted(os.listdir(USB))
    devices = [name for name in names if re.fullmatch(r"[0-9]+-[0-9.]+", name)][:MAX_DEVICES]
    found = (_device(port, [n for n in names if n.startswith(f"{port}:")]) for port in devices)
    return tuple(device for device in found if device is not None)


def _device(port: str, functions: list[str]) -> UsbDevice | None:
    values = {file: read_line(USB / port / file) for file in _FILES}
    return usb_device(
        port,
        values,
        [
            UsbFunction(read_line(USB / name / "bInterfaceClass"), (USB / name / "driver").exists())
            for name in functions
        ],
    )


def _over_current() -> tuple[str, ...]:
    """Ports that were switched off at least once since the start."""
    paths = sorted(USB.glob("*/*:1.0/*-port[0-9]*/over_current_count"))[:MAX_PORTS]
    return tuple(path.parent.name[:40] for path in paths if read_number(path))


def _printers() -> tuple[Printer, ...]:
    try:
        if QUEUES.stat().st_size == 0:
            return ()
    except FileNotFoundError:
        return ()
    return read_printers()


def read_printers() -> tuple[Printer, ...]:
    """Raises Missing where CUPS does not answer."""
    printed = run("lpstat", "-l", "-p", "-d", "-a", "-o", deadline_s=LPSTAT_S)
    printers = parse_printers(printed.text)
    if not printers and printed.fault and "No destinations" not in printed.fault:
        raise Missing(printed.fault)
    return printers


USB_DEVICES = Source(name="usb", ask=_usb, platforms=LINUX)
OVER_CURRENT = Source(name="usb_ports", ask=_over_current, platforms=LINUX)
PRINTERS = Source(
    name="printers", ask=_printers, platforms=frozenset({"linux", "darwin"}), program="lpstat", deadline_s=LPSTAT_S + 2
)
