"""How the sections on what is plugged in, who is logged in and what starts by itself are made."""

from __future__ import annotations

from agent.facts.source import LINUX, Asked
from agent.facts.sources import logins, plugged, startup
from protocol.sections.devices import Devices
from protocol.sections.startup import Startup
from protocol.sections.users import LoggedIn, Users


def devices_section(asked: Asked) -> Devices:
    devices = asked.ask(plugged.USB_DEVICES, None)
    return Devices(
        usb=devices or (),
        over_current=asked.ask(plugged.OVER_CURRENT, ()) if devices is not None else (),
        printers=asked.ask(plugged.PRINTERS, ()),
        unavailable=asked.unavailable,
    )


def users_section(asked: Asked) -> Users:
    nobody: tuple[LoggedIn, ...] = ()
    users = asked.ask(logins.LOGINS if asked.platform in LINUX else logins.LOGINS_ELSEWHERE, nobody)
    return Users(
        users=tuple(sorted(users, key=lambda user: (user.name, user.where, user.since_at or 0))),
        unavailable=asked.unavailable,
    )


def startup_section(asked: Asked) -> Startup:
    on_windows = asked.platform == "win32"
    programs = asked.ask(startup.RUN_VALUES if on_windows else startup.AUTOSTARTS, ())
    return Startup(programs=programs, unavailable=asked.unavailable)
