"""Wi-Fi and mobile modem on the ladder: each fault has its code, and a radio that is not needed is no failure."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.connectivity import judge_radio
from agent.connectivity.judge import judge
from agent.connectivity.observed import NameServer, Observed, Reached, Relay
from agent.findings.find import find
from agent.findings.known import Known
from agent.findings.thresholds import Thresholds
from protocol.sections.base import Section
from protocol.sections.connectivity import Connectivity, Rung
from protocol.sections.modem import Bearer, Modem, Modems
from protocol.sections.network import Interface, Route
from protocol.sections.wifi import Wifi, WifiInterface

WIRED = Interface(name="eth0", kind="ethernet", up=True, addresses=("192.0.2.7/24",))
UNPLUGGED = Interface(name="eth0", kind="ethernet", up=False)
RADIO = Interface(name="wlan0", kind="wifi", up=False)
CELL = Interface(name="wwan0", kind="cellular", up=False)
UP = {
    "routes": (Route(family=4, gateway="192.0.2.1", interface="eth0"),),
    "name_servers": (NameServer(server="198.51.100.1", outcome="answered", asks_others=True),),
}
SILENT = Relay(
    host="relay.example",
    port=443,
    is_name=False,
    reached=(Reached(address="203.0.113.9", family=4, outcome="no_route"),),
)
GOOD = Modem(
    name="cdc-wdm0",
    state="connected",
    registration="home",
    technology="lte",
    rsrp_dbm=-95,
    bearers=(Bearer(connected=True, interface="wwan0", apn="internet"),),
)


def alone(modem: Modem, **changes: Any) -> Observed:
    """A machine whose only way out is a modem, and nothing answers."""
    return Observed(interfaces=(CELL,), relay=SILENT, modem=Modems(modems=(modem,)), **changes)


def with_wifi(interface: WifiInterface, *interfaces: Interface, radio_off: str = "", **changes: Any) -> Observed:
    section = Wifi(interfaces=(interface,), radio_off=radio_off)
    return Observed(interfaces=(RADIO, *interfaces), relay=SILENT, wifi=section, **changes)


def rung(name: str, section: Connectivity) -> Rung:
    return next(one for one in section.rungs if one.name == name)


def verdict(seen: Observed) -> tuple[str, str]:
    found = judge(seen).verdict
    return (found.name, found.code) if found is not None else ("", "")


REFUSED = Bearer(connected=False, apn="internet", error="Network timeout")
MODEM_FAULTS = {
    "sim-missing": Modem(state="failed", failed_reason="sim-missing"),
    "sim-wrong": Modem(state="failed", failed_reason="sim-error"),
    "modem-failed": Modem(state="failed", failed_reason="unknown"),
    "sim-pin": Modem(state="locked", lock="sim-pin", unlock_tries=3),
    "sim-puk": Modem(state="locked", lock="sim-puk"),
    "sim-other-operator": Modem(state="locked", lock="ph-net-pin"),
    "modem-disabled": Modem(state="disabled"),
    "registration-denied": Modem(state="enabled", registration="denied"),
    "no-network": Modem(state="searching", registration="searching"),
    "no-signal": Modem(state="searching", registration="searching", rsrp_dbm=-135),
    "roaming-blocked": Modem(
        state="registered", registration="roaming", bearers=(Bearer(apn="internet", roaming_allowed=False),)
    ),
    "apn-missing": Modem(state="registered", registration="home", bearers=(Bearer(connected=False),)),
    "apn-wrong": Modem(
        state="registered",
        registration="home",
        apn="interent",
        bearers=(Bearer(apn="interent", error="Service option not subscribed"),),
    ),
    "data-refused": Modem(state="registered", registration="home", apn="internet", bearers=(REFUSED,)),
    "mobile-not-connected": Modem(state="registered", registration="home"),
}
WIFI_FAULTS = {
    "wifi-auth-failed": WifiInterface(name="wlan0", state="disconnected", reason="wrong-key", auth_failures=2),
    "wifi-refused": WifiInterface(name="wlan0", state="disconnected", reason="refused"),
    "wifi-not-found": WifiInterface(name="wlan0", state="disconnected", reason="not-found"),
    "wifi-not-connected": WifiInterface(name="wlan0", state="disconnected"),
}


@pytest.mark.parametrize("code", MODEM_FAULTS)
def test_each_fault_of_the_only_modem_is_the_verdict(code: str) -> None:
    assert verdict(alone(MODEM_FAULTS[code])) == ("modem", code)


@pytest.mark.parametrize("code", WIFI_FAULTS)
def test_each_fault_of_the_only_wi_fi_is_the_verdict(code: str) -> None:
    assert verdict(with_wifi(WIFI_FAULTS[code])) == ("wifi", code)


def test_flight_mode_is_the_verdict_for_both_radios() -> None:
    off = WifiInterface(name="wlan0", state="off")
    assert verdict(with_wifi(off, radio_off="soft")) == ("wifi", "wifi-off")
    seen = Observed(interfaces=(CELL,), modem=Modems(modems=(Modem(state="disabled"),), radio_off="soft"))
    assert verdict(seen) == ("modem", "mobile-off")


@pytest.mark.parametrize("fault", [*MODEM_FAULTS.values(), GOOD])
def test_a_modem_that_is_not_needed_is_no_failure_whatever_its_state(fault: Modem) -> None:
    seen = Observed(interfaces=(WIRED, CELL), modem=Modems(modems=(fault,)), **UP)  # type: ignore[arg-type]
    section = judge(seen)
    assert rung("modem", section).state in ("unknown", "pass") and not rung("modem", section).code
    assert section.verdict is None or section.verdict.name not in ("modem", "wifi", "adapter")


@pytest.mark.parametrize("fault", WIFI_FAULTS.values())
def test_wi_fi_that_is_not_needed_is_no_failure_whatever_its_state(fault: WifiInterface) -> None:
    section = judge(with_wifi(fault, WIRED, **UP))
    assert rung("wifi", section).state == "unknown" and not rung("wifi", section).code


def test_a_broken_line_behind_a_cable_is_not_blamed_on_an_empty_slot() -> None:
    routes = (Route(family=4, gateway="192.0.2.1", interface="eth0"),)
    modem = Modems(modems=(MODEM_FAULTS["sim-missing"],))
    name_servers = (NameServer(server="198.51.100.1", outcome="silent"),)
    seen = Observed(interfaces=(WIRED, CELL), routes=routes, modem=modem, name_servers=name_servers, relay=SILENT)
    assert verdict(seen)[0] == "internet"


def test_a_cable_that_is_out_stays_the_verdict_unless_the_radio_has_a_reason_of_its_own() -> None:
    assert verdict(with_wifi(WIFI_FAULTS["wifi-not-connected"], UNPLUGGED)) == ("adapter", "link-down")
    assert verdict(with_wifi(WIFI_FAULTS["wifi-auth-failed"], UNPLUGGED)) == ("wifi", "wifi-auth-failed")
    wired = alone(MODEM_FAULTS["sim-puk"])
    assert verdict(msgspec.structs.replace(wired, interfaces=(UNPLUGGED, CELL))) == ("modem", "sim-puk")


def test_both_radios_are_told_and_the_likelier_one_is_the_verdict() -> None:
    modem = Modems(modems=(MODEM_FAULTS["sim-pin"],))
    idle = msgspec.structs.replace(with_wifi(WIFI_FAULTS["wifi-not-connected"]), modem=modem)
    assert verdict(idle) == ("modem", "sim-pin"), "Wi-Fi that is merely idle explains nothing"
    refused = judge(msgspec.structs.replace(with_wifi(WIFI_FAULTS["wifi-auth-failed"]), modem=modem))
    assert refused.verdict is not None and refused.verdict.code == "wifi-auth-failed"
    assert rung("modem", refused).code == "sim-pin", "a modem does not rest on Wi-Fi"
    slot = Modems(modems=(MODEM_FAULTS["sim-missing"],))
    assert verdict(msgspec.structs.replace(with_wifi(WIFI_FAULTS["wifi-not-connected"]), modem=slot))[0] == "wifi"


def test_a_modem_without_an_interface_yet_is_an_adapter() -> None:
    assert verdict(Observed(modem=Modems(modems=(MODEM_FAULTS["sim-missing"],)))) == ("modem", "sim-missing")
    assert verdict(Observed()) == ("adapter", "no-adapter")


def test_of_two_modems_the_one_that_works_counts() -> None:
    both = Modems(modems=(MODEM_FAULTS["sim-missing"], GOOD))
    routes = (Route(family=4, gateway="", interface="wwan0"),)
    cell = Interface(name="wwan0", kind="cellular", up=True, addresses=("10.1.2.3/30",))
    section = judge(Observed(interfaces=(cell,), routes=routes, modem=both, name_servers=UP["name_servers"]))  # type: ignore[arg-type]
    assert rung("modem", section).state == "pass" and section.verdict is None
    assert rung("modem", section).evidence["signal_dbm"] == -95


def test_a_weak_signal_warns_where_it_is_the_way_out() -> None:
    routes = (Route(family=4, gateway="", interface="wwan0"),)
    weak = msgspec.structs.replace(GOOD, rsrp_dbm=-121)
    seen = Observed(interfaces=(CELL,), routes=routes, modem=Modems(modems=(weak,)))
    assert (rung("modem", judge(seen)).state, rung("modem", judge(seen)).code) == ("warn", "mobile-signal-weak")
    far = WifiInterface(name="wlan0", state="connected", ssid="casa", signal_dbm=-82)
    assert rung("wifi", judge(with_wifi(far))).code == "wifi-signal-weak"
    assert rung("wifi", judge(with_wifi(far, WIRED, **UP))).state == "pass", "a cable is in use"
    near = msgspec.structs.replace(far, signal_dbm=-60)
    assert rung("wifi", judge(with_wifi(near))).state == "pass"


def test_a_tunnel_is_no_other_way_and_pppoe_is_one() -> None:
    tunnel = (Route(family=4, gateway="", interface="wg0"),)
    lost = with_wifi(WIFI_FAULTS["wifi-auth-failed"], Interface(name="wg0", kind="virtual", up=True), routes=tunnel)
    assert rung("wifi", judge(lost)).code == "wifi-auth-failed"
    dsl = (Route(family=4, gateway="", interface="ppp0"),)
    assert not rung("modem", judge(alone(MODEM_FAULTS["sim-missing"], routes=dsl))).code
    assert rung("modem", judge(alone(MODEM_FAULTS["data-refused"], routes=dsl))).code == "data-refused"


def test_wi_fi_on_its_way_is_no_failure_yet() -> None:
    assert rung("wifi", judge(with_wifi(WifiInterface(name="wlan0", state="connecting")))).state == "unknown"


def test_every_code_of_the_radio_rungs_is_reached_here() -> None:
    elsewhere = {"mobile-off", "wifi-off", "mobile-signal-weak", "wifi-signal-weak"}
    assert {*MODEM_FAULTS, *WIFI_FAULTS, *elsewhere} == judge_radio.CODES


def codes(*sections: Section, **changes: float) -> set[str]:
    held = {type(one).__name__: one for one in sections}
    known = Known(held, 1_800_000_000.0, Thresholds.with_changes(changes))
    return {finding.code for finding in find(known).findings}


HOME = WifiInterface(name="wlan0", state="connected", ssid="casa", band="2.4", channel=6, security="wpa2-personal")


def wifi(**changes: Any) -> Wifi:
    return Wifi(interfaces=(msgspec.structs.replace(HOME, **changes),))


def test_what_works_and_could_do_better_is_found_at_its_threshold() -> None:
    assert codes(Modems(modems=(GOOD,)), wifi()) == set()
    abroad = msgspec.structs.replace(GOOD, roaming=True, registration="roaming")
    assert codes(Modems(modems=(abroad,))) == {"roaming"}
    assert codes(Modems(modems=(msgspec.structs.replace(GOOD, technology="edge"),))) == {"mobile-2g"}
    for tries, found in ((2, set()), (1, {"sim-tries-low"}), (None, set())):
        assert codes(Modems(modems=(Modem(state="locked", lock="sim-pin", unlock_tries=tries),))) == found
    assert codes(wifi(rate_mbps=6, rx_rate_mbps=11)) == {"wifi-slow"}
    assert codes(wifi(rate_mbps=6, rx_rate_mbps=300)) == set(), "one way falls to the least at rest"
    assert codes(wifi(rate_mbps=6)) == set(), "and where only one is known, nobody knows"
    assert codes(wifi(neighbours=10)) == {"wifi-crowded"} and codes(wifi(neighbours=9)) == set()
    assert codes(wifi(neighbours=30, band="5", channel=36)) == set()
    assert codes(wifi(channel_busy_percent=70, band="5", channel=36)) == {"wifi-crowded"}
    assert codes(wifi(neighbours=10), wifi_crowded_networks=20) == set()
    assert codes(wifi(security="open")) == {"wifi-open"} and codes(wifi(security="wep")) == {"wifi-open"}
