"""How the section on Wi-Fi is made: the kernel's figures, NetworkManager's reasons, the supplicant's failures."""

from __future__ import annotations

import msgspec

from agent.facts.parsers.iw import Supplicant
from agent.facts.parsers.wireless import joined, with_neighbours
from agent.facts.source import LINUX, Asked
from agent.facts.sources import wifi
from protocol.sections.wifi import Wifi, WifiInterface


def wifi_section(asked: Asked) -> Wifi:
    """On a machine without Wi-Fi nothing is asked and nothing said to be missing."""
    if asked.platform not in LINUX:
        source = wifi.NETSH_WLAN if asked.platform == "win32" else wifi.PROFILER
        found = asked.ask(source, Wifi())
        return msgspec.structs.replace(found, unavailable=asked.unavailable)
    switched_off = asked.ask(wifi.RADIO_OFF, "")
    names = asked.ask(wifi.NAMES, ())
    if not names:
        return Wifi(radio_off=switched_off, unavailable=asked.unavailable)
    managed = _managed(asked)
    off = switched_off or managed.radio_off
    return Wifi(
        interfaces=tuple(_interface(asked, name, managed, off) for name in names),
        radio_off=off,
        unavailable=asked.unavailable,
    )


def _managed(asked: Asked) -> wifi.Managed:
    """That NetworkManager does not run is no loss: others manage Wi-Fi as well, and the kernel knows the rest."""
    found = asked.ask(wifi.network_manager(), wifi.Managed())
    why = asked.unavailable.get("networkmanager", "")
    if "does not run" in why or "no system bus" in why:
        del asked.unavailable["networkmanager"]
    return found


def _interface(asked: Asked, name: str, managed: wifi.Managed, off: str) -> WifiInterface:
    of_manager = next((one for one in managed.interfaces if one.name == name), WifiInterface())
    found = asked.ask(wifi.by_kernel(name), WifiInterface(), otherwise=of_manager if of_manager.name else None)
    found = joined(msgspec.structs.replace(found, name=name), of_manager)
    if off and found.state != "connected":
        return msgspec.structs.replace(found, state="off")
    if found.state == "connected":
        own = wifi.Scan(managed.heard.get(name, ()))
        scan = asked.ask(wifi.heard_by(name, found.ssid), own, otherwise=own if own.seen else None)
        return with_neighbours(joined(found, WifiInterface(security=scan.security)), scan.seen)
    if of_manager.state in ("connecting", "off"):  # the kernel only knows whether there is a link
        found = msgspec.structs.replace(found, state=of_manager.state)
    said = asked.ask(wifi.supplicant_of(name), Supplicant(), otherwise=Supplicant())
    failures = said.auth_failures or (1 if found.reason == "wrong-key" else None)
    return msgspec.structs.replace(
        found, auth_failures=failures, reason=said.reason or found.reason, state=found.state or "disconnected"
    )
