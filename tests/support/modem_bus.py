"""The real ModemManager on a bus of its own, with a modem that is simulated down to its AT commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.facts.parsers.mmcli import read_table
from agent.facts.source import Missing
from agent.facts.sources.dbus import Service, ask_service
from tests.support.agent_process import wait_until
from tests.support.at_modem import AtModem, OnSocket
from tests.support.daemons import find

MANAGER = "org.freedesktop.ModemManager1"
MANAGER_PATH = "/org/freedesktop/ModemManager1"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:dir={folder}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""


class PrivateBus:
    """A real dbus-daemon that nobody else uses. address: of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemon: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> Self:
        config = self._folder / "bus.conf"
        config.write_text(CONFIG.format(folder=self._folder))
        command = [find("dbus-daemon") or "dbus-daemon", f"--config-file={config}", "--nofork", "--print-address"]
        self._daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._daemon.stdout is not None
        self.address = self._daemon.stdout.readline().decode().strip()
        assert self.address
        return self

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address, "DBUS_SESSION_BUS_ADDRESS": self.address}

    def has(self, name: str) -> bool:
        async def there(service: Service) -> bool:
            return True

        try:
            return ask_service(name, there, self.address)
        except Missing:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._daemon)


class ModemManager:
    """It runs on the bus, and has the modem, when `with` begins."""

    def __init__(self, bus: PrivateBus, modem: AtModem, log: Path) -> None:
        self._bus, self._modem, self._log = bus, modem, log
        self._name = f"abstract:at-{os.getpid()}-{id(self)}"
        self._port: OnSocket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._port = OnSocket(self._modem, self._name)
        options = [f"--test-{option}" for option in ("session", "enable", "no-udev", "no-suspend-resume", "no-qrtr")]
        command = [find("ModemManager") or "ModemManager", *options, "--no-auto-scan", "--debug"]
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                command, env=self._bus.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(lambda: self._bus.has(MANAGER), "ModemManager is on the bus")
        self._ask("SetProfile", "ssas", ["prueba", "generic", [self._name]])
        wait_until(lambda: "Modem/0" in self.mmcli("-L"), "ModemManager knows the modem")
        return self

    def _ask(self, member: str, signature: str, body: list[Any]) -> None:
        async def question(service: Service) -> None:
            await service.call(MANAGER_PATH, f"{MANAGER}.Test", member, signature, body)

        ask_service(MANAGER, question, self._bus.address)

    def mmcli(self, *arguments: str) -> str:
        """What the real one says."""
        done = subprocess.run(
            ["mmcli", *arguments],
            env={**self._bus.environment, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    def says(self, **values: str) -> bool:
        """Whether `mmcli -m any -K` has these, by the last part of their keys: state="locked"."""
        table = read_table(self.mmcli("-m", "any", "-K"))
        ends = {key.rpartition(".")[2].replace("-", "_"): value for key, value in table.items()}
        return {key: ends.get(key) for key in values} == values

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        if self._port is not None:
            self._port.close()


def end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
