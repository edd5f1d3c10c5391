"""A modem that is asked on its serial port: a real terminal device, whose other end answers or does not."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.facts.collectors.modem import modem_section
from agent.facts.source import Asked, Hung, Missing
from agent.facts.sources import modems
from agent.facts.sources.modems import QUESTIONS, Signs, at_port
from agent.platform.posix_serial import Port, is_held
from protocol.system_clock import SystemClock
from tests.support.at_modem import Air, AtModem, OnPty

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's /proc")

IS_ROOT = os.geteuid() == 0
ROOT_ONLY = pytest.mark.skipif(not IS_ROOT, reason="only root can tell whether a port is free")


@pytest.fixture
def modem() -> AtModem:
    return AtModem()


@pytest.fixture
def port(modem: AtModem) -> Iterator[str]:
    pty = OnPty(modem)
    yield pty.path
    pty.close()


@ROOT_ONLY
@pytest.mark.parametrize(
    ("air", "state", "lock", "failed", "registration"),
    [
        (Air(), "registered", "", "", "home"),
        (Air(stat=5), "registered", "", "", "roaming"),
        (Air(stat=3), "enabled", "", "", "denied"),
        (Air(stat=2), "searching", "", "", "searching"),
        (Air(card="SIM PIN", stat=0), "locked", "sim-pin", "", "idle"),
        (Air(card="SIM PUK", stat=0), "locked", "sim-puk", "", "idle"),
        (Air(card="missing", stat=0), "failed", "", "sim-missing", "idle"),
        (Air(card="wrong", stat=0), "failed", "", "sim-error", "idle"),
        (Air(power=4, stat=0), "disabled", "", "", "idle"),
    ],
    ids=lambda value: value.card + str(value.stat) if isinstance(value, Air) else "",
)
def test_what_a_modem_says_to_at_is_what_the_section_says(
    modem: AtModem, port: str, air: Air, state: str, lock: str, failed: str, registration: str
) -> None:
    modem.air = air
    read = at_port(port).ask()
    assert (read.state, read.lock, read.failed_reason, read.registration) == (state, lock, failed, registration)
    assert (read.by, read.name, read.manufacturer, read.model) == ("at", Path(port).name, "Taller", "Maqueta 4G")
    if registration in ("home", "roaming"):
        assert (read.operator, read.rsrp_dbm, read.rsrq_db, read.rssi_dbm) == ("Prueba Movil", -91, -10, -73)
        assert read.apn == "internet.prueba" and read.technology == "lte"


@ROOT_ONLY
def test_nothing_is_asked_that_changes_the_modem_or_names_its_card(modem: AtModem, port: str) -> None:
    at_port(port).ask()
    assert [command for command in modem.asked if command not in QUESTIONS] == []
    changing = [command for command in QUESTIONS if "=" in command]
    assert changing == ["AT+CMEE=1"], "its reasons as numbers, as every program that asks sets it"
    assert not any(name in command for command in QUESTIONS for name in ("CGSN", "CIMI", "CCID", "CNUM", "CUSD"))


def test_a_port_that_another_program_has_is_not_opened(modem: AtModem, port: str) -> None:
    other = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        assert is_held(port)
        with pytest.raises(Missing, match="another program has it"):
            at_port(port).ask()
    finally:
        os.close(other)
    assert modem.asked == []


@ROOT_ONLY
def test_a_port_that_says_nothing_is_given_up_and_left_as_it_was() -> None:
    master, slave = os.openpty()
    path = os.ttyname(slave)
    before = termios.tcgetattr(slave)
    os.close(slave)
    with pytest.raises(Missing, match="does not answer"):
        at_port(path).ask()
    again = os.open(path, os.O_RDWR | os.O_NOCTTY)
    assert termios.tcgetattr(again) == before
    os.close(again)
    os.close(master)


def test_a_port_whose_modem_is_pulled_out_fails_plainly_and_can_still_be_closed() -> None:
    master, slave = os.openpty()
    port = Port(os.ttyname(slave))
    os.close(slave)
    answering = threading.Thread(target=lambda: (os.read(master, 64), os.write(master, b"\r\nOK\r\n")))
    answering.start()
    assert "OK" in port.ask("AT")
    answering.join()
    os.close(master)
    with contextlib.suppress(OSError):
        assert port.ask("AT+CSQ") == ""
    port.close()


def test_an_answer_without_end_is_cut(modem: AtModem, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modem, "reply", lambda command: "x" * 20_000)
    opened = Port(port)
    assert len(opened.ask("AT+CGMM")) == 16 * 1024
    opened.ask("AT")  # so that the other end can end
    opened.close()


@ROOT_ONLY
def test_the_port_is_asked_only_where_no_manager_runs(
    modem: AtModem, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = Signs(at=(port,))
    monkeypatch.setattr(modems, "SIGNS", modems.Source(name="modem_hardware", ask=lambda: signs))
    clock = SystemClock()

    def section(reason: str) -> tuple[str, ...]:
        def ask() -> tuple[object, ...]:
            raise Missing(reason)

        monkeypatch.setattr(modems, "modem_manager", lambda: modems.Source(name="modemmanager", ask=ask))
        made = modem_section(Asked(Hung(), clock, clock.monotonic() + 20))
        return tuple(one.by for one in made.modems)

    assert section("org.freedesktop.ModemManager1 did not answer within 3 s") == () and not modem.asked
    assert section("org.freedesktop.ModemManager1 does not run") == ("at",)


def test_a_port_that_is_no_terminal_is_asked_all_the_same(tmp_path: Path) -> None:
    """As the kernel's own WWAN ports are hardly any."""
    path = tmp_path / "wwan0at0"
    os.mkfifo(path)
    port = Port(str(path))
    assert "AT+CSQ" in port.ask("AT+CSQ"), "what was written comes back, as an echo without an answer"
    port.close()
