"""Sources on Wi-Fi: the kernel by iw, NetworkManager and wpa_supplicant for the reasons; netsh; macOS' profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agent.facts.parsers.iw import (
    Supplicant,
    parse_iw_dev,
    parse_iw_link,
    parse_iw_scan,
    parse_iwconfig,
    parse_proc_wireless,
    parse_supplicant_log,
    security_in_scan,
)
from agent.facts.parsers.mac_wifi import parse_heard, parse_system_profiler
from agent.facts.parsers.netsh_wlan import parse_netsh_interfaces, parse_netsh_networks, radio_off_in
from agent.facts.parsers.wifi_on_dbus import parse_device, parse_nmcli_devices, parse_point, radio_off
from agent.facts.parsers.wireless import MAX_INTERFACES, MAX_SEEN, Seen, joined, with_neighbours
from agent.facts.source import LINUX, Missing, Source
from agent.facts.sources.dbus import Service, ask_service
from agent.facts.sources.files import read_text
from agent.facts.sources.modems import radio_off as switched_off
from agent.facts.sources.radio_tools import answer_of, program
from protocol.sections.wifi import Wifi, WifiInterface

NET = Path("/sys/class/net")
PROC_WIRELESS = Path("/proc/net/wireless")

NETWORK_MANAGER = "org.freedesktop.NetworkManager"
NM_PATH = "/org/freedesktop/NetworkManager"
DEVICE, WIRELESS, POINT = (f"{NETWORK_MANAGER}.{name}" for name in ("Device", "Device.Wireless", "AccessPoint"))
WIFI_DEVICE = 2
"""NMDeviceType."""

MAX_POINTS = 60
"""Asked one by one: a tower block has more, and the figure is no better for them."""

LOG_LINES = "300"


class Managed(msgspec.Struct, frozen=True):
    """NetworkManager's word. heard: by interface."""

    interfaces: tuple[WifiInterface, ...] = ()
    heard: dict[str, tuple[Seen, ...]] = {}
    radio_off: str = ""


class Scan(msgspec.Struct, frozen=True):
    """What an adapter heard. security: of the network in use."""

    seen: tuple[Seen, ...] = ()
    security: str = ""


def _names() -> tuple[str, ...]:
    try:
        names = sorted(entry.name for entry in NET.iterdir() if _is_wifi(entry))
    except OSError:
        return ()
    return tuple(names[:MAX_INTERFACES])


def _is_wifi(entry: Path) -> bool:
    """Stations, not the monitor or peer-to-peer interfaces that drivers make beside them."""
    is_radio = (entry / "wireless").exists() or (entry / "phy80211").exists()
    return is_radio and not entry.name.startswith(("p2p-", "mon."))


def by_kernel(name: str) -> Source[WifiInterface]:
    """By iw; where it is not installed, by iwconfig; else what /proc still has."""

    def ask() -> WifiInterface:
        if program("iw"):
            info = next(iter(parse_iw_dev(answer_of(["iw", "dev", name, "info"]))), WifiInterface(name=name))
            return joined(parse_iw_link(answer_of(["iw", "dev", name, "link"])), info, _in_proc(name))
        if program("iwconfig"):
            found = parse_iwconfig(answer_of(["iwconfig", name], whatever_status=True))
            return next(iter(found), WifiInterface(name=name))
        found_in_proc = _in_proc(name)
        if found_in_proc.signal_dbm is None:
            raise Missing("iw is not installed")
        return found_in_proc

    return Source(name=f"wifi {name}", ask=ask, platforms=LINUX)


def _in_proc(name: str) -> WifiInterface:
    try:
        table = parse_proc_wireless(read_text(PROC_WIRELESS))
    except OSError:
        table = ()
    return next((one for one in table if one.name == name), WifiInterface(name=name))


def heard_by(name: str, ssid: str) -> Source[Scan]:
    """What it heard lately: nothing is sent, and no scan begun, which would interrupt what runs."""

    def ask() -> Scan:
        text = answer_of(["iw", "dev", name, "scan", "dump"])
        return Scan(parse_iw_scan(text), security_in_scan(text, ssid))

    return Source(name=f"wifi_scan {name}", ask=ask, platforms=LINUX)


def supplicant_of(name: str) -> Source[Supplicant]:
    """From the log of this boot; who may not read it has no answer."""

    def ask() -> Supplicant:
        log = answer_of(["journalctl", "-b", "-q", "-o", "cat", "-n", LOG_LINES, "-t", "wpa_supplicant"])
        return parse_supplicant_log(log, name)

    return Source(name=f"wpa_supplicant {name}", ask=ask, platforms=LINUX)


def network_manager(address: str | None = None) -> Source[Managed]:
    """address: of the bus; the system's by default."""

    def ask() -> Managed:
        try:
            return ask_service(NETWORK_MANAGER, _managed, address)
        except Missing as exc:
            if "dbus-fast" not in str(exc):
                raise
            return Managed(parse_nmcli_devices(answer_of(["nmcli", "device", "show"])))

    return Source(name="networkmanager", ask=ask, platforms=LINUX, deadline_s=8.0)


async def _managed(service: Service) -> Managed:
    manager = await service.properties(NM_PATH, NETWORK_MANAGER)
    paths = await service.call(NM_PATH, NETWORK_MANAGER, "GetDevices")
    interfaces: list[WifiInterface] = []
    heard: dict[str, tuple[Seen, ...]] = {}
    for path in paths if isinstance(paths, list) else ():
        device = await service.properties(path, DEVICE)
        if device.get("DeviceType") == WIFI_DEVICE and len(interfaces) < MAX_INTERFACES:
            wireless = await service.properties(path, WIRELESS)
            interface = parse_device(device, wireless, await _point(service, wireless.get("ActiveAccessPoint")))
            interfaces.append(interface)
            others = [one for one in wireless.get("AccessPoints") or () if isinstance(one, str)][:MAX_POINTS]
            heard[interface.name] = tuple([parse_point(await _point(service, one)) for one in others])
    return Managed(tuple(interfaces), heard, radio_off(manager, "Wireless"))


async def _point(service: Service, path: object) -> Any:
    """An access point may be gone by the time it is asked for."""
    if not isinstance(path, str) or path in ("", "/"):
        return {}
    try:
        return await service.properties(path, POINT)
    except Missing:
        return {}


def _netsh() -> Wifi:
    text = answer_of(["netsh", "wlan", "show", "interfaces"], whatever_status=True)
    seen = parse_netsh_networks(answer_of(["netsh", "wlan", "show", "networks", "mode=bssid"], whatever_status=True))
    off = radio_off_in(text)
    found = tuple(with_neighbours(one, seen) for one in parse_netsh_interfaces(text))
    return Wifi(
        interfaces=tuple(msgspec.structs.replace(one, state="off") if off else one for one in found), radio_off=off
    )


def _profiler() -> Wifi:
    text = answer_of(["system_profiler", "SPAirPortDataType", "-json"], 20.0)
    seen = parse_heard(text)[:MAX_SEEN]
    found = tuple(with_neighbours(one, seen) for one in parse_system_profiler(text))
    return Wifi(interfaces=found, radio_off="soft" if found and all(one.state == "off" for one in found) else "")


NAMES = Source(name="wifi_interfaces", ask=_names, platforms=LINUX)
RADIO_OFF = Source(name="rfkill", ask=lambda: switched_off("wlan"), platforms=LINUX)
NETSH_WLAN = Source(name="netsh", ask=_netsh, platforms=frozenset({"win32"}), deadline_s=9.0)
PROFILER = Source(name="system_profiler", ask=_profiler, platforms=frozenset({"darwin"}), deadline_s=21.0)
