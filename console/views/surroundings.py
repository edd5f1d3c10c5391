"""What is plugged in, who is logged in and what starts by itself, to a person."""

from __future__ import annotations

from console.render import print_pairs, print_table, when
from protocol.sections.devices import Devices, Printer, UsbDevice
from protocol.sections.startup import Startup
from protocol.sections.users import Users


def devices_view(devices: Devices) -> None:
    if devices.usb:
        print_table(("port", "id", "device", "kind", "speed", ""), [_usb(device) for device in devices.usb])
    for port in devices.over_current:
        print_pairs([("switched off", f"{port}: what was plugged in drew too much")])
    if devices.printers:
        print_table(("printer", "state", "jobs", "says"), [_printer(printer) for printer in devices.printers])
    if not devices.usb and not devices.printers:
        print("nothing is plugged in that it knows of")


def _usb(device: UsbDevice) -> tuple[str, ...]:
    speed = f"{device.speed_mbps} Mbit/s" if device.speed_mbps is not None else "-"
    name = f"{device.maker} {device.product}".strip()
    return device.port, device.id, name, ", ".join(device.kinds), speed, "no driver" if device.driver is False else ""


def _printer(printer: Printer) -> tuple[str, ...]:
    state = (printer.state or "-") + (", takes no jobs" if printer.accepting is False else "")
    name = f"{printer.name} (default)" if printer.default else printer.name
    return name, state, str(printer.waiting), ", ".join(printer.reasons)


def users_view(section: Users) -> None:
    if not section.users:
        print("nobody is logged in")
        return
    print_table(
        ("user", "where", "how", "since"),
        [
            (
                user.name,
                user.where,
                "remote" if user.remote else "desktop" if user.graphical else "",
                when(user.since_at),
            )
            for user in section.users
        ],
    )


def startup_view(section: Startup) -> None:
    if not section.programs:
        print("nothing starts by itself")
        return
    print_table(
        ("name", "program", "by", "for", ""),
        [
            (one.name, one.program, one.how, one.owner or "everybody", "" if one.enabled else "switched off")
            for one in section.programs
        ],
    )
