"""The rungs of Wi-Fi and of mobile broadband: what keeps a radio from being the way out. Pure.

They stand side by side: neither rests on the other. A radio that is not needed is no failure, whatever its state: a
machine that is online by cable may have an empty SIM slot. So a rung fails only where no other way is there.
"""

from __future__ import annotations

import re

from agent.connectivity.observed import Observed
from protocol.sections.connectivity import Evidence, Rung
from protocol.sections.modem import Modem, Modems
from protocol.sections.wifi import Wifi, WifiInterface

UNLIKELY = frozenset({"sim-missing", "modem-disabled", "mobile-off", "wifi-off", "wifi-not-connected"})
"""What is also so on machines that never used that radio: it explains an outage only where nothing else does."""

FAILED = {"sim-missing": "sim-missing", "esim-without-profiles": "sim-missing", "sim-error": "sim-wrong"}
LOCKED = {"sim-pin": "sim-pin", "sim-puk": "sim-puk"}
WIFI_REASONS = {"wrong-key": "wifi-auth-failed", "refused": "wifi-refused", "not-found": "wifi-not-found"}
WIFI_REASONS_LATE = {"timeout": "wifi-refused"}

APN_ERRORS = re.compile(r"apn|subscri|not subscribed|requested service option|unknown.*access point", re.IGNORECASE)
"""What networks answer to a wrong access point name: causes 27 and 33 of 3GPP TS 24.008, in ModemManager's words."""

WEAK = ("weak", "none")

TUNNELS = ("tun", "tap", "wg", "tailscale", "zt", "ipsec", "utun")
"""What VPNs call their interfaces; their routes outlive the network below them."""

CODES = frozenset(
    {"sim-missing", "sim-wrong", "sim-pin", "sim-puk", "sim-other-operator", "modem-failed", "modem-disabled"}
    | {"mobile-off", "registration-denied", "no-network", "no-signal", "roaming-blocked", "apn-missing", "apn-wrong"}
    | {"data-refused", "mobile-not-connected", "mobile-signal-weak", "wifi-off", "wifi-auth-failed", "wifi-refused"}
    | {"wifi-not-found", "wifi-not-connected", "wifi-signal-weak"}
)


def modem_rung(seen: Observed, beyond: bool) -> Rung:
    """beyond: whether anything outside answered."""
    section = seen.modem or Modems()
    if not section.modems:
        return _unknown("modem")
    code, modem = min(
        ((modem_trouble(one, section.radio_off), one) for one in section.modems), key=lambda found: found[0] != ""
    )
    evidence = _modem_evidence(modem)
    if not code or (beyond and not _other_way(seen, "cellular")):
        if modem.signal_word in WEAK and not _other_way(seen, "cellular"):
            return Rung(name="modem", state="warn", code="mobile-signal-weak", evidence=evidence)
        return Rung(name="modem", state="pass", evidence=evidence)
    if beyond or _other_way(seen, "cellular"):
        return Rung(name="modem", state="unknown", evidence=evidence)
    return Rung(name="modem", state="fail", code=code, evidence=evidence)


def modem_trouble(modem: Modem, radio_off: str = "") -> str:
    """The code of what keeps it from carrying data; "" where nothing does. The card first, then the network."""
    if modem.state == "connected" or any(bearer.connected for bearer in modem.bearers):
        return ""
    if modem.state == "failed":
        return FAILED.get(modem.failed_reason, "modem-failed")
    if modem.state == "locked" or modem.lock in LOCKED:
        return LOCKED.get(modem.lock, "sim-other-operator" if modem.lock.startswith("ph-") else "sim-pin")
    if radio_off:
        return "mobile-off"
    if modem.state in ("disabled", "disabling") or modem.power in ("off", "low"):
        return "modem-disabled"
    if modem.registration in ("denied", "emergency-only"):
        return "registration-denied"
    if modem.registration not in ("home", "roaming") and modem.state not in ("registered", "connecting"):
        return "no-signal" if modem.signal_word == "none" else "no-network"
    return _bearer_trouble(modem)


def _bearer_trouble(modem: Modem) -> str:
    if modem.registration == "roaming" and any(bearer.roaming_allowed is False for bearer in modem.bearers):
        return "roaming-blocked"
    error = next((bearer.error for bearer in modem.bearers if bearer.error), "")
    if error:
        return "apn-wrong" if APN_ERRORS.search(error) else "data-refused"
    if not modem.apn and modem.bearers:
        return "apn-missing"
    return "mobile-not-connected"


def wifi_rung(seen: Observed, beyond: bool) -> Rung:
    section = seen.wifi or Wifi()
    if not section.interfaces:
        return _unknown("wifi")
    connected = [one for one in section.interfaces if one.state == "connected"]
    if connected:
        best = max(connected, key=lambda one: one.signal_dbm or -999)
        weak = best.signal_word in WEAK and not _other_way(seen, "wifi")
        if weak:
            return Rung(name="wifi", state="warn", code="wifi-signal-weak", evidence=_wifi_evidence(best))
        return Rung(name="wifi", state="pass", evidence=_wifi_evidence(best))
    code, interface = min(
        ((wifi_trouble(one, section.radio_off), one) for one in section.interfaces),
        key=lambda found: found[0] in UNLIKELY,
    )
    evidence = _wifi_evidence(interface)
    if not code or beyond or _other_way(seen, "wifi") or (code in UNLIKELY and _modem_is_likelier(seen)):
        return Rung(name="wifi", state="unknown", evidence=evidence)
    return Rung(name="wifi", state="fail", code=code, evidence=evidence)


def wifi_trouble(interface: WifiInterface, radio_off: str = "") -> str:
    """Why it is not connected; "" while it is on its way."""
    if interface.reason in WIFI_REASONS:
        return WIFI_REASONS[interface.reason]
    if interface.auth_failures:
        return "wifi-auth-failed"
    if interface.state == "connecting":
        return ""
    if radio_off:
        return "wifi-off"
    return WIFI_REASONS_LATE.get(interface.reason, "wifi-not-connected")


def explains_no_link(seen: Observed, *, has_cable: bool) -> bool:
    """Whether a radio tells better why no adapter is up than "the cable is out". has_cable: it has a socket for one."""
    rungs = (wifi_rung(seen, False), modem_rung(seen, False))
    return any(rung.state == "fail" and not (has_cable and rung.code in UNLIKELY) for rung in rungs)


def _modem_is_likelier(seen: Observed) -> bool:
    section = seen.modem or Modems()
    codes = [modem_trouble(one, section.radio_off) for one in section.modems]
    return any(code and code not in UNLIKELY for code in codes)


def _other_way(seen: Observed, kind: str) -> bool:
    """Whether a default route leaves by something else than that radio, and not by a tunnel, which rests on it."""
    own = {i.name for i in seen.interfaces if i.kind == kind}
    if kind == "cellular":
        modems = (seen.modem or Modems()).modems
        own |= {bearer.interface for one in modems for bearer in one.bearers}
        if any(one.state in ("registered", "connecting", "connected") for one in modems):
            own |= {route.interface for route in seen.routes if route.interface.startswith("ppp")}
    else:
        own |= {one.name for one in (seen.wifi or Wifi()).interfaces}
    return any(route.interface not in own and not route.interface.startswith(TUNNELS) for route in seen.routes)


def _modem_evidence(modem: Modem) -> Evidence:
    said: dict[str, str | int | None] = {
        "modem": modem.model or modem.name,
        "state": modem.state,
        "operator": modem.operator or modem.operator_code,
        "technology": modem.technology,
        "signal_dbm": modem.signal_dbm,
        "signal_percent": modem.signal_percent if modem.signal_dbm is None else None,
        "tries": modem.unlock_tries,
        "apn": modem.apn,
        "error": next((bearer.error for bearer in modem.bearers if bearer.error), ""),
        "lock": modem.lock if not modem.lock.endswith("2") else "",
    }
    return {name: value for name, value in said.items() if value not in ("", None)}


def _wifi_evidence(interface: WifiInterface) -> Evidence:
    said: dict[str, str | int | None] = {
        "interface": interface.name,
        "ssid": interface.ssid,
        "signal_dbm": interface.signal_dbm,
        "band": interface.band,
        "failures": interface.auth_failures,
        "reason": interface.reason,
    }
    return {name: value for name, value in said.items() if value not in ("", None)}


def _unknown(name: str) -> Rung:
    return Rung(name=name, state="unknown")
