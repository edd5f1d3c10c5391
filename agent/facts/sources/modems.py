"""Sources on mobile-broadband modems: ModemManager; where it is not, the tools and the AT port; netsh on Windows.

Whoever manages a modem is asked, and nobody else then: two programs on one port take each other's answers. Without
ModemManager, a port is touched as root only, where /proc shows that no other program has it open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from agent.facts.parsers.at import parse_at
from agent.facts.parsers.cellular import MAX_BEARERS, MAX_MODEMS
from agent.facts.parsers.mmcli import parse_mmcli_modem, parse_paths
from agent.facts.parsers.modem_on_dbus import BEARER, MODEM, MODEM_3GPP, SIGNAL, parse_modem
from agent.facts.parsers.netsh_mbn import parse_netsh_mbn
from agent.facts.parsers.qmi import parse_mbimcli, parse_qmicli, parse_uqmi
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.dbus import Objects, Service, ask_service
from agent.facts.sources.files import read_line
from agent.facts.sources.radio_tools import answer_of, program
from protocol.sections.modem import Modem

SYS = Path("/sys")
DEV = Path("/dev")
SYSTEM_BUS = "DBUS_SYSTEM_BUS_ADDRESS"
"""The D-Bus specification's own variable. Where it is set, the bus is asked whatever the hardware looks like."""

MODEM_MANAGER = "org.freedesktop.ModemManager1"
ROOT_PATH = "/org/freedesktop/ModemManager1"

MODEM_DRIVERS = frozenset({"option", "option1", "qcserial", "sierra", "sierra_net", "huawei_cdc_ncm"})
"""USB drivers that the kernel binds to modems alone."""

AT_INTERFACES = {"2c7c": "02", "1e0e": "02", "1199": "03"}
"""The USB interface with the AT port: Quectel, SIMCom, Sierra, as ModemManager's udev rules have it."""

SIGNAL_RATE_S = 5
SIGNAL_WAIT_S = 2.0
"""ModemManager measures signal in detail only while somebody asks it to: it is asked, and asked to stop."""

ENABLED = 6
"""MMModemState: from here on the radio is on."""

QUESTIONS = (
    *("AT", "AT+CMEE=1", "AT+CGMI", "AT+CGMM", "AT+CGMR", "AT+CFUN?", "AT+CPIN?", "AT+CSQ", "AT+CESQ", "AT+CREG?"),
    *("AT+CGREG?", "AT+CEREG?", "AT+C5GREG?", "AT+COPS?", "AT+CGDCONT?"),
)
"""All but the second only ask. It makes the modem give its reasons, as every program that speaks to it does."""

OWN_QUESTIONS = {
    "quectel": ('AT+QENG="servingcell"', "AT+QCSQ", "AT+QNWINFO"),
    "fibocom": ("AT+GTCCINFO?",),
    "sierra": ("AT!GSTATUS?",),
    "huawei": ("AT^SYSINFO",),
}


class Signs(msgspec.Struct, frozen=True):
    """What shows that there is a modem. at, control: paths in /dev; control to its driver (qmi_wwan, cdc_mbim)."""

    interfaces: tuple[str, ...] = ()
    at: tuple[str, ...] = ()
    control: Mapping[str, str] = {}
    bus_named: bool = False

    def __bool__(self) -> bool:
        return bool(self.interfaces or self.at or self.control or self.bus_named)


def _signs() -> Signs:
    """From /sys alone: nothing is opened."""
    interfaces = [
        entry.name
        for entry in _entries("class/net")
        if entry.name.startswith("wwan") or "DEVTYPE=wwan" in read_line(entry / "uevent").splitlines()
    ]
    at = [str(DEV / entry.name) for entry in _entries("class/wwan") if read_line(entry / "type") == "AT"]
    at += [str(DEV / entry.name) for entry in _entries("class/tty") if _is_at_port(entry)]
    control = {
        str(DEV / entry.name): driver
        for entry in _entries("class/usbmisc")
        if entry.name.startswith("cdc-wdm") and (driver := _driver(entry)) in ("qmi_wwan", "cdc_mbim")
    }
    return Signs(tuple(interfaces), tuple(at[:MAX_MODEMS]), control, SYSTEM_BUS in os.environ)


def _entries(folder: str) -> list[Path]:
    try:
        return sorted((SYS / folder).iterdir())
    except OSError:
        return []


def _driver(entry: Path) -> str:
    try:
        return os.path.basename(os.readlink(entry / "device" / "driver"))
    except OSError:
        return ""


def _is_at_port(tty: Path) -> bool:
    """A serial port of a USB modem that its maker says is for AT commands."""
    if not tty.name.startswith("ttyUSB") or _driver(tty) not in MODEM_DRIVERS:
        return False
    usb_interface = (tty / "device").resolve().parent
    vendor = read_line(usb_interface.parent / "idVendor")
    return read_line(usb_interface / "bInterfaceNumber") == AT_INTERFACES.get(vendor, "none")


# -- ModemManager -----------------------------------------------------------------------------------------------------


def modem_manager(address: str | None = None) -> Source[tuple[Modem, ...]]:
    """address: of the bus; the system's by default."""

    def ask() -> tuple[Modem, ...]:
        return ask_service(MODEM_MANAGER, _modems, address)

    return Source(name="modemmanager", ask=ask, platforms=LINUX, deadline_s=8.0)


async def _modems(service: Service) -> tuple[Modem, ...]:
    objects = await service.objects(ROOT_PATH)
    paths = [path for path, interfaces in objects.items() if MODEM in interfaces]
    return tuple([await _modem(service, path, objects) for path in sorted(paths)[:MAX_MODEMS]])


async def _modem(service: Service, path: str, objects: Objects) -> Modem:
    interfaces: dict[str, Mapping[str, Any]] = dict(objects[path])
    state = interfaces[MODEM].get("State", 0)
    if SIGNAL in interfaces and isinstance(state, int) and state >= ENABLED:
        interfaces[SIGNAL] = await _measured(service, path, interfaces[SIGNAL])
    bearers = interfaces[MODEM].get("Bearers")
    initial = interfaces.get(MODEM_3GPP, {}).get("InitialEpsBearer")
    wanted = [one for one in bearers or () if isinstance(one, str)][:MAX_BEARERS]
    wanted += [initial] if isinstance(initial, str) and initial not in ("", "/") and initial not in wanted else []
    return parse_modem(path, interfaces, [await service.properties(bearer, BEARER) for bearer in wanted])


async def _measured(service: Service, path: str, before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The signal in detail. Where nobody has it measured and we may not ask for it, what is there: percent alone."""
    import asyncio

    if before.get("Rate", 0) != 0:
        return before
    try:
        await service.call(path, SIGNAL, "Setup", "u", [SIGNAL_RATE_S])
    except Missing:
        return before
    found = before
    try:
        async with asyncio.timeout(SIGNAL_WAIT_S):
            while not any(isinstance(value, Mapping) and value for value in found.values()):
                await asyncio.sleep(0.1)
                found = await service.properties(path, SIGNAL)
    except TimeoutError:
        pass
    await service.call(path, SIGNAL, "Setup", "u", [0])
    return found


def _mmcli() -> tuple[Modem, ...]:
    """For systems whose bus we cannot speak with ourselves."""
    numbers = parse_paths(answer_of(["mmcli", "-L"]))
    return tuple(_mmcli_modem(number) for number in numbers)


def _mmcli_modem(number: str) -> Modem:
    text = answer_of(["mmcli", "-m", number, "-K"], whatever_status=True) or answer_of(["mmcli", "-m", number])
    signal = answer_of(["mmcli", "-m", number, "--signal-get", "-K"], whatever_status=True)
    bearers = parse_paths(text, "Bearer")[:MAX_BEARERS]
    return parse_mmcli_modem(text, signal, tuple(answer_of(["mmcli", "-b", b, "-K"]) for b in bearers))


# -- without ModemManager ---------------------------------------------------------------------------------------------


def control_port(path: str, driver: str) -> Source[Modem]:
    """By uqmi, qmicli or mbimcli: what of them is installed."""

    def ask() -> Modem:
        _must_be_free(path)
        name = Path(path).name
        if driver == "cdc_mbim":
            queries = ("subscriber-ready-status", "registration-state", "signal-state")
            said = [answer_of(["mbimcli", "-p", "-d", path, f"--query-{q}"], whatever_status=True) for q in queries]
            return msgspec.structs.replace(parse_mbimcli("\n".join(said)), name=name)
        if program("uqmi"):
            questions = ("pin-status", "serving-system", "system-info", "signal-info")
            said = [answer_of(["uqmi", "-s", "-d", path, f"--get-{q}"], whatever_status=True) for q in questions]
            return msgspec.structs.replace(parse_uqmi(*said), name=name)
        queries = ("uim-get-card-status", "nas-get-serving-system", "nas-get-signal-info")
        said = [answer_of(["qmicli", "-p", "-d", path, f"--{q}"], whatever_status=True) for q in queries]
        return msgspec.structs.replace(parse_qmicli("\n".join(said)), name=name)

    return Source(name=f"modem {path}", ask=ask, platforms=LINUX, deadline_s=13.0)


def at_port(path: str) -> Source[Modem]:
    """The last resort."""

    def ask() -> Modem:
        _must_be_free(path)
        from agent.platform.posix_serial import Port

        port = Port(path)
        try:
            said = [port.ask(QUESTIONS[0])]
            if "OK" not in said[0]:
                raise Missing("it does not answer to AT")
            said += [port.ask(question) for question in QUESTIONS[1:]]
            maker = parse_at("\n".join(said)).manufacturer.lower()
            own = next((questions for name, questions in OWN_QUESTIONS.items() if name in maker), ())
            said += [port.ask(question) for question in own]
        finally:
            port.close()
        return msgspec.structs.replace(parse_at("\n".join(said)), name=Path(path).name)

    return Source(name=f"modem {path}", ask=ask, platforms=LINUX, deadline_s=12.0)


def _must_be_free(path: str) -> None:
    if sys.platform == "win32":
        raise Missing("there is no such port here")
    from agent.platform.posix_serial import is_held

    if is_held(path):
        raise Missing("another program has it, or may have: only root can tell")


def _netsh() -> tuple[Modem, ...]:
    return parse_netsh_mbn(answer_of(["netsh", "mbn", "show", "interfaces"], whatever_status=True))


def radio_off(kind: str) -> str:
    """By rfkill's table: kind "wlan" or "wwan"; "hard", "soft", or "" where one of that kind is on or none is there."""
    switches = [entry for entry in _entries("class/rfkill") if read_line(entry / "type") == kind]
    if not switches:
        return ""
    if all(read_line(entry / "hard") == "1" for entry in switches):
        return "hard"
    return "soft" if all("1" in (read_line(entry / "soft"), read_line(entry / "hard")) for entry in switches) else ""


SIGNS: Source[Signs] = Source(name="modem_hardware", ask=_signs, platforms=LINUX)
MMCLI = Source(name="modemmanager", ask=_mmcli, platforms=LINUX, deadline_s=8.0)
NETSH_MBN = Source(name="netsh", ask=_netsh, platforms=frozenset({"win32"}))
RADIO_OFF = Source(name="rfkill", ask=lambda: radio_off("wwan"), platforms=LINUX)
