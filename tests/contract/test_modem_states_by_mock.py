"""States that a simulated modem does not reach: ModemManager's objects by python-dbusmock, read by us and by mmcli."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Variant

from agent.facts.collectors.wifi import wifi_section
from agent.facts.parsers.mmcli import parse_mmcli_modem
from agent.facts.parsers.modem_on_dbus import BEARER, MODEM, MODEM_3GPP, SIGNAL
from agent.facts.source import Asked, Hung
from agent.facts.sources import wifi
from agent.facts.sources.dbus import PROPERTIES
from agent.facts.sources.modems import MODEM_MANAGER, ROOT_PATH, SYSTEM_BUS, modem_manager
from agent.facts.sources.wifi import NETWORK_MANAGER, NM_PATH, network_manager
from protocol.sections.modem import Modem
from protocol.system_clock import SystemClock
from tests.support.daemons import need
from tests.support.mock_service import MockService, need_dbusmock
from tests.support.modem_bus import PrivateBus

need("dbus-daemon", "mmcli")
need_dbusmock()

PATH = f"{ROOT_PATH}/Modem/0"
TYPES: dict[type, str] = {str: "s", int: "u", bool: "b"}


COMMON: dict[str, Any] = {
    "Manufacturer": "Quectel",
    "Model": "RM520N-GL",
    "Revision": "R01",
    "PrimaryPort": "cdc-wdm0",
    "Plugin": "quectel",
    "Device": "/sys/devices/none",
    "DeviceIdentifier": "0",
    "EquipmentIdentifier": "0",
    "StateFailedReason": 0,
    "PowerState": 3,
    "UnlockRequired": 1,
    "UnlockRetries": Variant("a{uu}", {}),
    "AccessTechnologies": 0,
    "SignalQuality": Variant("(ub)", (0, False)),
    "Bearers": Variant("ao", []),
    "Sim": Variant("o", "/"),
    "SimSlots": Variant("ao", []),
    "PrimarySimSlot": 0,
    "Drivers": Variant("as", []),
    "Ports": Variant("a(su)", [("cdc-wdm0", 6)]),
    "OwnNumbers": Variant("as", []),
    "SupportedCapabilities": Variant("au", [4]),
    "CurrentCapabilities": 4,
    "SupportedModes": Variant("a(uu)", [(8, 0)]),
    "CurrentModes": Variant("(uu)", (8, 0)),
    "SupportedBands": Variant("au", []),
    "CurrentBands": Variant("au", []),
    "SupportedIpFamilies": 7,
}
"""What mmcli takes for granted: it falls over a modem without."""


def typed(**values: Any) -> dict[str, Variant]:
    return {name: one if isinstance(one, Variant) else Variant(TYPES[type(one)], one) for name, one in values.items()}


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[PrivateBus]:
    with PrivateBus(tmp_path) as started:
        yield started


@pytest.fixture
def manager(bus: PrivateBus) -> Iterator[MockService]:
    with MockService(bus, MODEM_MANAGER, "-m", MODEM_MANAGER, ROOT_PATH, MODEM_MANAGER) as started:
        yield started


def modem(manager: MockService, generic: dict[str, Any], gsm: dict[str, Any], signal: dict[str, Any]) -> None:
    interfaces = {MODEM: typed(**{**COMMON, **generic}), MODEM_3GPP: typed(**gsm), SIGNAL: typed(**signal)}
    manager.add(ROOT_PATH, PATH, {name: one for name, one in interfaces.items() if one})


def ours(bus: PrivateBus) -> Modem:
    [read] = modem_manager(bus.address).ask()
    return read


def theirs(bus: PrivateBus) -> Modem:
    def say(*options: str) -> str:
        command = ["mmcli", "-m", "0", "-K", *options]
        return subprocess.run(command, env=bus.environment, capture_output=True, text=True, check=False).stdout

    said = say()
    assert "modem.generic.state " in said
    return parse_mmcli_modem(said, say("--signal-get"))


def agree(first: Modem, second: Modem) -> None:
    names = ("state", "failed_reason", "lock", "unlock_tries", "power", "registration", "operator", "operator_code")
    names += ("technology", "rssi_dbm", "rsrp_dbm", "rsrq_db", "snr_db", "model", "manufacturer", "firmware")
    assert {name: getattr(first, name) for name in names} == {name: getattr(second, name) for name in names}


def test_a_wrong_card_is_told_from_a_missing_one(bus: PrivateBus, manager: MockService) -> None:
    modem(manager, {"State": Variant("i", -1), "StateFailedReason": 3}, {}, {})
    read = ours(bus)
    assert (read.state, read.failed_reason) == ("failed", "sim-error")
    agree(read, theirs(bus))


def test_the_tries_that_are_left_are_those_of_the_lock_that_is_asked_for(bus: PrivateBus, manager: MockService) -> None:
    retries = Variant("a{uu}", {2: 1, 3: 3, 4: 10})
    modem(manager, {"State": Variant("i", 2), "UnlockRequired": 2, "UnlockRetries": retries}, {}, {})
    read = ours(bus)
    assert (read.state, read.lock, read.unlock_tries) == ("locked", "sim-pin", 1)
    agree(read, theirs(bus))


def test_5g_beside_lte_shows_lte_s_figures_and_alone_its_own(bus: PrivateBus, manager: MockService) -> None:
    def measures(**values: float) -> Variant:
        return Variant("a{sv}", {name: Variant("d", value) for name, value in values.items()})

    signal = {
        "Rate": 5,
        "Lte": measures(rssi=-61.0, rsrp=-93.0, rsrq=-11.0, snr=14.0),
        "Nr5g": measures(rsrp=-104.0, rsrq=-13.0, snr=4.0),
    }
    generic = {
        "State": Variant("i", 11),
        "AccessTechnologies": (1 << 14) | (1 << 15),
        "SignalQuality": Variant("(ub)", (67, True)),
    }
    gsm = {"RegistrationState": 5, "OperatorName": "Extranjera", "OperatorCode": "20801"}
    modem(manager, generic, gsm, signal)
    read = ours(bus)
    assert (read.technology, read.rsrp_dbm, read.snr_db, read.signal_percent) == ("lte+5gnr", -93, 14, 67)
    assert (read.registration, read.roaming, read.operator, read.operator_code) == (
        "roaming",
        True,
        "Extranjera",
        "20801",
    )
    agree(read, theirs(bus))
    manager.call(PATH, "UpdateProperties", "sa{sv}", MODEM, {"AccessTechnologies": Variant("u", 1 << 15)})
    read = ours(bus)
    assert (read.technology, read.rsrp_dbm, read.signal_kind, read.signal_word) == ("5gnr", -104, "ss-rsrp", "weak")


def test_bearers_carry_their_counters_and_what_the_network_said(bus: PrivateBus, manager: MockService) -> None:
    wanted = Variant("a{sv}", {"apn": Variant("s", "internet"), "allow-roaming": Variant("b", False)})
    counted = Variant("a{sv}", {"rx-bytes": Variant("t", 1 << 33), "tx-bytes": Variant("t", 77)})
    error = Variant("(ss)", (f"{MODEM_MANAGER}.Error.MobileEquipment.ServiceOptionNotSubscribed", "not subscribed"))
    path = f"{ROOT_PATH}/Bearer/3"
    modem(manager, {"State": Variant("i", 8), "Bearers": Variant("ao", [path])}, {"RegistrationState": 1}, {})
    bearer = typed(Connected=False, Interface="", Properties=wanted, Stats=counted, ConnectionError=error)
    manager.add(ROOT_PATH, path, {BEARER: bearer})
    [read] = ours(bus).bearers
    assert (read.apn, read.roaming_allowed, read.error) == ("internet", False, "not subscribed")
    assert (read.rx_bytes, read.tx_bytes) == (1 << 33, 77)


@pytest.mark.parametrize("value", [Variant("s", "rubbish"), Variant("i", -99), Variant("u", 2**32 - 1)])
def test_values_of_tomorrow_or_of_nobody_are_unknown_and_no_failure(
    bus: PrivateBus, manager: MockService, value: Variant
) -> None:
    generic = dict.fromkeys(("State", "UnlockRequired", "AccessTechnologies", "SignalQuality", "UnlockRetries"), value)
    modem(manager, {**generic, "Model": "x" * 5000}, {"RegistrationState": value, "OperatorName": "y\n" * 99}, {})
    read = ours(bus)
    assert (read.lock, read.registration, read.signal_percent) == ("", "", None)
    assert len(read.model) == 64 and "\n" not in read.operator


# -- NetworkManager ---------------------------------------------------------------------------------------------------


@pytest.fixture
def networks(bus: PrivateBus) -> Iterator[MockService]:
    with MockService(bus, NETWORK_MANAGER, "-t", "networkmanager") as started:
        yield started


def wifi_device(networks: MockService, state: int) -> str:
    path: str = networks.call(NM_PATH, "AddWiFiDevice", "ssu", "radio", "wlan7", state)
    return path


def because(networks: MockService, device: str, state: int, reason: int) -> None:
    value = Variant("(uu)", (state, reason))
    networks.call(device, "Set", "ssv", wifi.DEVICE, "StateReason", value, interface=PROPERTIES)


def access_point(networks: MockService, device: str, name: str, mhz: int, strength: int) -> str:
    arguments = (device, name, name, "fe:dc:ba:09:87:01", 2, mhz, 54_000, strength, 0x100)
    path: str = networks.call(NM_PATH, "AddAccessPoint", "ssssuuuyu", *arguments)
    return path


def test_networkmanager_s_device_is_read_with_its_network_and_its_neighbours(
    bus: PrivateBus, networks: MockService
) -> None:
    device = wifi_device(networks, 100)
    mine = access_point(networks, device, "casa", 2437, 62)
    access_point(networks, device, "vecina", 2427, 80)
    networks.call(device, "AddProperty", "ssv", wifi.WIRELESS, "ActiveAccessPoint", Variant("o", mine))
    networks.call(device, "UpdateProperties", "sa{sv}", wifi.WIRELESS, {"Bitrate": Variant("u", 72_000)})
    managed = network_manager(bus.address).ask()
    [one] = managed.interfaces
    assert (one.name, one.state, one.ssid, one.band, one.channel) == ("wlan7", "connected", "casa", "2.4", 6)
    assert (one.signal_percent, one.signal_dbm, one.rate_mbps) == (62, -69, 72)
    assert sorted(seen.ssid for seen in managed.heard["wlan7"]) == ["casa", "vecina"] and managed.radio_off == ""


@pytest.mark.parametrize(
    ("number", "reason", "state", "why"),
    [(30, 7, "disconnected", "wrong-key"), (120, 53, "disconnected", "not-found"), (50, 0, "connecting", "")],
)
def test_why_wi_fi_is_not_connected_is_networkmanager_s_reason(
    bus: PrivateBus, networks: MockService, number: int, reason: int, state: str, why: str
) -> None:
    device = wifi_device(networks, number)
    because(networks, device, number, reason)
    [one] = network_manager(bus.address).ask().interfaces
    assert (one.state, one.reason) == (state, why)


def test_the_section_joins_the_kernel_s_word_with_networkmanager_s(
    bus: PrivateBus, networks: MockService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    device = wifi_device(networks, 30)
    because(networks, device, 30, 7)
    monkeypatch.setenv(SYSTEM_BUS, bus.address)
    (tmp_path / "wlan7" / "wireless").mkdir(parents=True)
    (tmp_path / "p2p-dev" / "wireless").mkdir(parents=True)
    (tmp_path / "eth0").mkdir()
    monkeypatch.setattr(wifi, "NET", tmp_path)
    clock = SystemClock()
    made = wifi_section(Asked(Hung(), clock, clock.monotonic() + 20))
    [one] = made.interfaces
    assert (one.name, one.state, one.reason, one.auth_failures) == ("wlan7", "disconnected", "wrong-key", 1)


def test_a_machine_without_wi_fi_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(wifi, "NET", tmp_path)
    monkeypatch.setattr(wifi, "network_manager", lambda: pytest.fail("asked"))
    clock = SystemClock()
    made = wifi_section(Asked(Hung(), clock, clock.monotonic() + 5))
    assert made.interfaces == () and not made.unavailable
