"""The real ModemManager with a simulated modem: what we read on D-Bus, and what the real mmcli says of the same."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.facts.collectors.modem import modem_section
from agent.facts.parsers.mmcli import parse_mmcli_modem, parse_paths
from agent.facts.source import Asked, Hung, Missing
from agent.facts.sources import command, modems
from agent.facts.sources.modems import SYSTEM_BUS, modem_manager
from protocol.codec import encode
from protocol.sections.catalogue import decode_section
from protocol.sections.modem import Modem, Modems
from protocol.system_clock import SystemClock
from tests.support.agent_process import wait_until
from tests.support.at_modem import IMEI, Air, AtModem
from tests.support.daemons import need
from tests.support.modem_bus import ModemManager, PrivateBus

need("ModemManager", "mmcli", "dbus-daemon")

Started = Callable[[AtModem], ModemManager]


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[PrivateBus]:
    with PrivateBus(tmp_path) as started:
        yield started


@pytest.fixture
def start(bus: PrivateBus, tmp_path: Path) -> Iterator[Started]:
    running: list[ModemManager] = []

    def started(modem: AtModem) -> ModemManager:
        running.append(ModemManager(bus, modem, tmp_path / "modem-manager.log"))
        return running[0].__enter__()

    yield started
    for one in running:
        one.__exit__(None, None, None)


def read(bus: PrivateBus) -> Modem:
    [modem] = modem_manager(bus.address).ask()
    return modem


def is_as_mmcli_says(manager: ModemManager, ours: Modem) -> bool:
    """Everything that both tell, at one instant; it may take mmcli another look where something moves."""
    theirs = parse_mmcli_modem(manager.mmcli("-m", "any", "-K"))
    names = ("manufacturer", "model", "firmware", "state", "failed_reason", "lock", "power", "operator")
    names += ("operator_code", "technology", "name")
    return [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]


def test_a_missing_card_is_read_as_mmcli_reads_it(bus: PrivateBus, start: Started) -> None:
    manager = start(AtModem(Air(card="missing")))
    wait_until(lambda: manager.says(state="failed"), "ModemManager gave up")
    modem = read(bus)
    assert (modem.state, modem.failed_reason, modem.model) == ("failed", "sim-missing", "Maqueta 4G")
    assert is_as_mmcli_says(manager, modem)


def test_a_locked_card_is_told_and_is_free_once_its_pin_was_given(bus: PrivateBus, start: Started) -> None:
    manager = start(AtModem(Air(card="SIM PIN")))
    wait_until(lambda: manager.says(state="locked"), "the card is locked")
    modem = read(bus)
    assert (modem.state, modem.lock) == ("locked", "sim-pin") and is_as_mmcli_says(manager, modem)
    assert "Incorrect password" in manager.mmcli("-i", "0", "--pin", "0000")
    assert read(bus).lock == "sim-pin"
    manager.mmcli("-i", "0", "--pin", "1234")
    wait_until(lambda: manager.says(state="disabled"), "the card is free")
    modem = read(bus)
    assert (modem.state, modem.lock) == ("disabled", "") and is_as_mmcli_says(manager, modem)


def test_a_blocked_card_wants_its_puk(bus: PrivateBus, start: Started) -> None:
    manager = start(AtModem(Air(card="SIM PUK")))
    wait_until(lambda: manager.says(state="locked"), "the card is blocked")
    assert (read(bus).state, read(bus).lock) == ("locked", "sim-puk")


def test_registration_is_followed_home_searching_denied_abroad_and_home_again(bus: PrivateBus, start: Started) -> None:
    simulated = AtModem()
    manager = start(simulated)
    assert "successfully enabled" in manager.mmcli("-m", "any", "-e")
    wait_until(lambda: manager.says(state="registered", operator_name="Prueba Movil"), "it is registered at home")
    modem = read(bus)
    assert (modem.registration, modem.roaming, modem.technology) == ("home", False, "lte")
    assert (modem.operator, modem.operator_code) == ("Prueba Movil", "21490") and is_as_mmcli_says(manager, modem)

    def becomes(state: str, registration: str) -> None:
        wait_until(lambda: manager.says(state=state, registration_state=registration), f"it is {registration}")
        wait_until(lambda: is_as_mmcli_says(manager, read(bus)), "both say the same")

    for stat, state, registration, roaming in (
        (2, "searching", "searching", None),
        (3, "enabled", "denied", None),
        (5, "registered", "roaming", True),
        (1, "registered", "home", False),
    ):
        simulated.move(stat)
        becomes(state, registration)
        modem = read(bus)
        assert (modem.state, modem.registration, modem.roaming) == (state, registration, roaming)


def test_signal_is_measured_in_detail_for_us_and_no_longer_than_we_look(bus: PrivateBus, start: Started) -> None:
    manager = start(AtModem(Air(cesq="99,99,255,255,14,23")))
    manager.mmcli("-m", "any", "-e")
    wait_until(lambda: manager.says(state="registered"), "it is registered")
    wait_until(lambda: read(bus).signal_percent == 64, "it measured: +CSQ: 20 of 31, as ModemManager counts")
    modem = read(bus)
    assert (modem.rsrp_dbm, modem.rsrq_db) == (-118, -13) and modem.signal_word == "fair"
    assert "refresh rate: 0" in " ".join(manager.mmcli("-m", "any", "--signal-get").split())
    manager.mmcli("-m", "any", "--signal-setup=5")
    wait_until(lambda: "-118.00" in manager.mmcli("-m", "any", "--signal-get"), "mmcli says the same")
    assert read(bus).rsrp_dbm == -118
    said = " ".join(manager.mmcli("-m", "any", "--signal-get").split())
    assert "refresh rate: 5" in said, "somebody else's measuring goes on"


def test_a_call_that_the_network_refuses_leaves_its_reason_and_one_that_works_is_connected(
    bus: PrivateBus, start: Started
) -> None:
    simulated = AtModem(Air(call="NO CARRIER"))
    manager = start(simulated)
    assert "NoCarrier" in manager.mmcli("-m", "any", "--simple-connect=apn=internet.prueba,allow-roaming=no")
    modem = read(bus)
    [bearer] = modem.bearers
    assert (bearer.connected, bearer.apn, bearer.error) == (False, "internet.prueba", "No carrier")
    assert bearer.roaming_allowed is False and modem.apn == "internet.prueba"
    simulated.air.call = "CONNECT 115200"
    [number] = parse_paths(manager.mmcli("-m", "any", "-K"), "Bearer")
    assert "successfully connected" in manager.mmcli("-b", number, "-c")
    modem = read(bus)
    assert modem.state == "connected" and modem.bearers[0].connected is True and not modem.bearers[0].error


def section(monkeypatch: pytest.MonkeyPatch, address: str) -> Modems:
    monkeypatch.setenv(SYSTEM_BUS, address)
    clock = SystemClock()
    return modem_section(Asked(Hung(), clock, clock.monotonic() + 20))


def test_the_section_has_the_modem_and_neither_its_number_nor_the_cell(
    bus: PrivateBus, start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = start(AtModem())
    manager.mmcli("-m", "any", "-e")
    wait_until(lambda: manager.says(state="registered"), "it is registered")
    made = section(monkeypatch, bus.address)
    assert [modem.by for modem in made.modems] == ["modemmanager"] and not made.unavailable
    data = encode(made)
    assert decode_section("modem", data) == made
    assert IMEI.encode() not in data and b"0123ABCD" not in data and b"21490000" not in data


def test_without_a_manager_or_a_bus_the_reason_is_said_and_nothing_is_started(
    bus: PrivateBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(modems, "DEV", tmp_path)
    monkeypatch.setattr(modems, "SYS", tmp_path)
    assert "does not run" in section(monkeypatch, bus.address).unavailable["modemmanager"]
    assert "no system bus" in section(monkeypatch, f"unix:path={tmp_path}/none").unavailable["modemmanager"]
    assert "no system bus" in section(monkeypatch, "rubbish").unavailable["modemmanager"]


def test_a_bus_that_hangs_costs_its_deadline_and_no_exception(tmp_path: Path) -> None:
    path = tmp_path / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(Missing, match="did not answer"):
            modem_manager(f"unix:path={path}").ask()


def test_a_machine_without_a_sign_of_a_modem_asks_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(modems, "SYS", tmp_path)
    monkeypatch.delenv(SYSTEM_BUS, raising=False)
    monkeypatch.setattr(modems, "modem_manager", lambda: pytest.fail("asked"))
    clock = SystemClock()
    assert modem_section(Asked(Hung(), clock, clock.monotonic() + 5)) == Modems()


def usb_port(sys_root: Path, name: str, vendor: str, interface: str, driver: str) -> None:
    """As sysfs has a serial port of a USB device: class/tty/NAME/device -> .../DEVICE/DEVICE:1.N/NAME."""
    port = sys_root / "devices" / name / "usb" / f"usb:1.{interface}" / name
    port.mkdir(parents=True)
    (sys_root / "drivers" / driver).mkdir(parents=True, exist_ok=True)
    os.symlink(sys_root / "drivers" / driver, port / "driver")
    (port.parent / "bInterfaceNumber").write_text(interface + "\n")
    (port.parent.parent / "idVendor").write_text(vendor + "\n")
    entry = sys_root / "class/tty" / name
    entry.mkdir(parents=True)
    os.symlink(port, entry / "device")


def test_only_a_port_that_is_plainly_a_modem_s_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usb_port(tmp_path, "ttyUSB0", "2c7c", "00", "option1")
    usb_port(tmp_path, "ttyUSB2", "2c7c", "02", "option1")
    usb_port(tmp_path, "ttyUSB5", "0403", "02", "ftdi_sio")
    usb_port(tmp_path, "ttyACM0", "2341", "02", "cdc_acm")
    for name, kind in (("wwan0at0", "AT"), ("wwan0mbim0", "MBIM")):
        (tmp_path / "class/wwan" / name).mkdir(parents=True)
        (tmp_path / "class/wwan" / name / "type").write_text(kind + "\n")
    monkeypatch.setattr(modems, "SYS", tmp_path)
    monkeypatch.delenv(SYSTEM_BUS, raising=False)
    signs = modems.SIGNS.ask()
    assert [Path(path).name for path in signs.at] == ["wwan0at0", "ttyUSB2"]


def test_without_dbus_fast_mmcli_is_asked_and_says_the_same(
    bus: PrivateBus, start: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = start(AtModem(Air(call="NO CARRIER")))
    manager.mmcli("-m", "any", "--simple-connect=apn=internet.prueba")
    wait_until(lambda: manager.says(state="registered"), "it is registered")
    ours = read(bus)

    def not_installed(*_: object) -> None:
        raise Missing("the package dbus-fast is not installed")

    monkeypatch.setattr(modems, "ask_service", not_installed)
    monkeypatch.setattr(command, "KEPT", (*command.KEPT, SYSTEM_BUS))  # outside of tests mmcli is told of no other bus
    [theirs] = section(monkeypatch, bus.address).modems
    assert theirs.by == "mmcli" and theirs.bearers[0].error == "No carrier"
    for name in ("state", "model", "operator", "operator_code", "registration", "technology", "apn", "signal_percent"):
        assert getattr(theirs, name) == getattr(ours, name), name
