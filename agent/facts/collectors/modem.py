"""How the section on mobile-broadband modems is made: whoever manages them is asked, and nobody else then."""

from __future__ import annotations

from agent.facts.source import LINUX, Asked
from agent.facts.sources import modems
from protocol.sections.modem import Modem, Modems


def modem_section(asked: Asked) -> Modems:
    """On a machine without a sign of a modem nothing is asked, nothing imported, and nothing said to be missing."""
    if asked.platform == "win32":
        return Modems(modems=asked.ask(modems.NETSH_MBN, ()), unavailable=asked.unavailable)
    if asked.platform not in LINUX:
        return Modems()  # macOS has no modem, and says nothing of one that is plugged in
    radio_off = asked.ask(modems.RADIO_OFF, "")
    signs = asked.ask(modems.SIGNS, modems.Signs())
    found: tuple[Modem, ...] = (_managed(asked) or _unmanaged(asked, signs)) if signs else ()
    return Modems(modems=found, radio_off=radio_off, unavailable=asked.unavailable)


def _managed(asked: Asked) -> tuple[Modem, ...]:
    found = asked.ask(modems.modem_manager(), None)
    if found is None and "dbus-fast" in asked.unavailable.get("modemmanager", ""):
        found = asked.ask(modems.MMCLI, None)
    return found or ()


def _unmanaged(asked: Asked, signs: modems.Signs) -> tuple[Modem, ...]:
    """Only where it is certain that ModemManager does not run."""
    why = asked.unavailable.get("modemmanager", "")
    if "does not run" not in why and "no system bus" not in why:
        return ()
    nothing = Modem()
    found = [asked.ask(modems.control_port(path, driver), nothing) for path, driver in signs.control.items()]
    if not any(modem.by for modem in found):
        found += [asked.ask(modems.at_port(path), nothing) for path in signs.at]
    return tuple(modem for modem in found if modem.by)
