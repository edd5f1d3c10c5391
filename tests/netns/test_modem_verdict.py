"""A device whose only way out is a mobile modem: `auxilio-agent diagnose` names the modem's fault, in its language."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.agent_process import wait_until
from tests.support.at_modem import Air, AtModem
from tests.support.daemons import need
from tests.support.modem_bus import ModemManager, PrivateBus

need("ModemManager", "mmcli", "dbus-daemon", "unshare")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs a network namespace of its own")

ROOT = Path(__file__).resolve().parents[2]


def diagnose(
    bus: PrivateBus, folder: Path, *options: str, language: str = "C.UTF-8"
) -> subprocess.CompletedProcess[str]:
    """In a network namespace with nothing in it."""
    command = [
        "unshare",
        "-n",
        sys.executable,
        "-m",
        "agent.main",
        "--state",
        str(folder / "none"),
        "diagnose",
        *options,
    ]
    environment = {**bus.environment, "LANG": language, "LC_ALL": language, "LANGUAGE": language}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("air", "state", "code", "english", "spanish"),
    [
        (Air(card="missing"), "failed", "sim-missing", "The SIM card is missing or not seated", "Falta la tarjeta SIM"),
        (Air(card="SIM PIN"), "locked", "sim-pin", "The SIM card asks for its PIN", "La tarjeta SIM pide su PIN"),
        (Air(card="SIM PUK"), "locked", "sim-puk", "asks for its PUK", "pide su PUK"),
        (Air(), "disabled", "modem-disabled", "The mobile modem is switched off", "El módem móvil está apagado"),
        (Air(stat=3), "enabled", "registration-denied", "does not accept this SIM card", "no acepta esta tarjeta SIM"),
        (Air(stat=2), "searching", "no-network", "finds no mobile network", "no encuentra ninguna red móvil"),
    ],
    ids=lambda value: value if isinstance(value, str) and "-" in value and " " not in value else "",
)
def test_the_verdict_is_what_is_wrong_with_the_modem(
    tmp_path: Path, air: Air, state: str, code: str, english: str, spanish: str
) -> None:
    with PrivateBus(tmp_path) as bus, ModemManager(bus, AtModem(air), tmp_path / "log") as manager:
        if state in ("enabled", "searching"):
            manager.mmcli("-m", "any", "-e")
            registration = "denied" if state == "enabled" else "searching"
            wait_until(lambda: manager.says(registration_state=registration), f"it is {registration}")
        wait_until(lambda: manager.says(state=state), f"the modem is {state}")
        said = json.loads(diagnose(bus, tmp_path, "--json").stdout)
        assert (said["verdict"]["name"], said["verdict"]["code"]) == ("modem", code)
        assert said["status"] == "broken" and code in [finding["code"] for finding in said["findings"]]
        assert said["sections"]["modem"]["modems"][0]["state"] == state
        assert english in diagnose(bus, tmp_path).stdout.splitlines()[0]
        assert spanish in diagnose(bus, tmp_path, language="es_ES.UTF-8").stdout.splitlines()[0]


def test_the_page_has_it_with_its_guide(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with PrivateBus(tmp_path) as bus, ModemManager(bus, AtModem(Air(card="missing")), tmp_path / "log") as manager:
        wait_until(lambda: manager.says(state="failed"), "ModemManager gave up")
        diagnose(bus, tmp_path, "--html", str(page), language="es_ES.UTF-8")
    text = page.read_text()
    assert "Falta la tarjeta SIM" in text and "Cuando no funcionan los datos móviles" in text
