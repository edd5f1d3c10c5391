"""From what the system's tools print to the sections: stand-ins that print what real systems printed.

No radio is on the machines that test, and no Windows or macOS; the tools' answers are recorded ones.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.facts import source as source_module
from agent.facts.collectors.modem import modem_section
from agent.facts.collectors.wifi import wifi_section
from agent.facts.source import Asked, Hung, Missing, Source
from agent.facts.sources import modems, wifi
from agent.facts.sources.modems import Signs
from agent.facts.sources.radio_tools import answer_of
from protocol.sections.modem import Modems
from protocol.sections.wifi import Wifi
from protocol.system_clock import SystemClock
from tests.support.samples import ROOT, sample

CLOCK = SystemClock()
NO_NETWORK_MANAGER = "org.freedesktop.NetworkManager does not run"


def asked(platform: str = "linux") -> Asked:
    return Asked(Hung(), CLOCK, CLOCK.monotonic() + 20, platform=platform)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(source_module, "PATH", str(folder))
    monkeypatch.setattr(source_module, "is_roots", lambda path: True)
    return folder


def tool(folder: Path, name: str, **answers: tuple[str, str]) -> None:
    """A program that prints a recorded file where its arguments hold a word. answers: word to kind and file."""
    lines = ["#!/bin/sh", 'case " $* " in']
    for word, (kind, file) in answers.items():
        sample(kind, file)  # skips where there are none
        lines.append(f'*" {word.replace("_", "-")} "*) exec /bin/cat "{ROOT / kind / file}" ;;')
    lines += ['*) echo "unknown: $*" >&2; exit 3 ;;', "esac"]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)


def interface(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
    (folder / "net" / name / "wireless").mkdir(parents=True)
    monkeypatch.setattr(wifi, "NET", folder / "net")

    def ask() -> wifi.Managed:
        raise Missing(NO_NETWORK_MANAGER)

    monkeypatch.setattr(wifi, "network_manager", lambda: Source(name="networkmanager", ask=ask))


def test_iw_s_answers_make_the_section(tools: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interface(monkeypatch, tmp_path, "wlp1s0")
    tool(
        tools,
        "iw",
        info=("wifi", "linux-iw-dev-wlp1s0-info.txt"),
        link=("wifi", "linux-iw-dev-wlp1s0-link.txt"),
        dump=("wifi", "iw-scan-1.txt"),
    )
    made = wifi_section(asked())
    [one] = made.interfaces
    assert (one.name, one.state, one.ssid, one.band, one.channel) == ("wlp1s0", "connected", "SSID-1", "2.4", 1)
    assert (one.signal_dbm, one.rate_mbps) == (-51, 26) and (one.neighbours or 0) >= 5
    assert not made.unavailable, "that NetworkManager does not run is no loss"


def test_where_iw_is_missing_iwconfig_is_asked(tools: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    interface(monkeypatch, tmp_path, "wlp5s0")
    tool(tools, "iwconfig", wlp5s0=("wifi", "iwconfig-many.txt"))
    made = wifi_section(asked())
    assert (made.interfaces[0].ssid, made.interfaces[0].signal_dbm) == ("BLABLABLA", -52)
    assert "iw is not installed" in made.unavailable["wifi_scan wlp5s0"]


def test_without_any_tool_the_adapter_is_named_and_what_is_missing_too(
    tools: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    interface(monkeypatch, tmp_path, "wlan9")
    monkeypatch.setattr(wifi, "PROC_WIRELESS", tmp_path / "none")
    made = wifi_section(asked())
    assert [(one.name, one.ssid) for one in made.interfaces] == [("wlan9", "")]
    assert "iw is not installed" in made.unavailable["wifi wlan9"]


@pytest.mark.parametrize(("language", "rate"), [("de", 300), ("en", 103), ("es", 206)])
def test_netsh_makes_the_section_in_several_languages(tools: Path, language: str, rate: int) -> None:
    heard = {"es": "it"}.get(language, language)  # of Spanish, none was recorded
    tool(
        tools,
        "netsh",
        interfaces=("wifi", f"win-netsh-interfaces-{language}.txt"),
        networks=("wifi", f"win-netsh-networks-{heard}.txt"),
    )
    made: Wifi = wifi_section(asked("win32"))
    [one] = made.interfaces
    assert (one.state, one.ssid, one.rate_mbps) == ("connected", "SSID-1", rate)
    assert one.neighbours is not None and not made.unavailable


def test_netsh_s_modem_is_one(tools: Path) -> None:
    tool(tools, "netsh", mbn=("cellular", "netsh-mbn-show-interfaces-en-sdx55.txt"))
    made: Modems = modem_section(asked("win32"))
    assert [(one.name, one.state, one.signal_dbm) for one in made.modems] == [("Cellular", "connected", -83)]


@pytest.mark.parametrize(
    ("file", "state", "neighbours"),
    [("mac-sp_15.5.json", "connected", True), ("mac-sp_15.5-wifi-disabled.json", "off", False)],
)
def test_the_profiler_makes_the_section(tools: Path, file: str, state: str, neighbours: bool) -> None:
    tool(tools, "system_profiler", SPAirPortDataType=("wifi", file))
    made: Wifi = wifi_section(asked("darwin"))
    assert made.interfaces[0].state == state and (made.interfaces[0].neighbours is not None) == neighbours
    assert made.radio_off == ("soft" if state == "off" else "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can tell whether a port is free")
def test_without_modemmanager_the_tools_are_asked_for_the_port(
    tools: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ask() -> tuple[object, ...]:
        raise Missing("org.freedesktop.ModemManager1 does not run")

    def made_with(driver: str) -> Modems:
        signs = Signs(control={str(tmp_path / "cdc-wdm0"): driver})
        monkeypatch.setattr(modems, "SIGNS", Source(name="modem_hardware", ask=lambda: signs))
        monkeypatch.setattr(modems, "modem_manager", lambda: Source(name="modemmanager", ask=ask))
        return modem_section(asked())

    tool(
        tools,
        "qmicli",
        __nas_get_serving_system=("cellular", "qmicli-serving-system-rm530n.txt"),
        __nas_get_signal_info=("cellular", "qmicli-signal-strength-sim7600.txt"),
    )
    [one] = made_with("qmi_wwan").modems
    assert (one.by, one.name, one.operator, one.rsrp_dbm, one.state) == (
        "qmi",
        "cdc-wdm0",
        "voda UK",
        -90,
        "registered",
    )
    tool(
        tools,
        "uqmi",
        __get_system_info=("cellular", "uqmi-get-system-info-rm520n.json"),
        __get_signal_info=("cellular", "uqmi-get-signal-info-lte.json"),
    )
    [one] = made_with("qmi_wwan").modems
    assert (one.by, one.operator_code, one.rsrp_dbm, one.snr_db) == ("qmi", "26003", -90, 25)
    tool(tools, "mbimcli", __query_registration_state=("cellular", "mbim-network-start-sierra-340u.txt"))
    [one] = made_with("cdc_mbim").modems
    assert (one.by, one.operator, one.registration) == ("mbim", "AT&T", "home")


def test_a_tool_that_fails_hangs_or_is_not_there_says_so(tools: Path) -> None:
    with pytest.raises(Missing, match="iw is not installed"):
        answer_of(["iw"])
    tool(tools, "iw")
    with pytest.raises(Missing, match="unknown: dev"):
        answer_of(["iw", "dev"])
    assert answer_of(["iw", "dev"], whatever_status=True) == ""
    slow = tools / "slow"
    slow.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    slow.chmod(0o755)
    with pytest.raises(Missing, match="slow did not end"):
        answer_of(["slow"], 0.2)


def test_no_environment_chooses_what_is_run(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for folder in (theirs, tools):
        (folder / "iw").write_text(f"#!/bin/sh\necho {folder.name} $LD_LIBRARY_PATH\n")
        (folder / "iw").chmod(0o755)
    monkeypatch.setenv("PATH", str(theirs))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(theirs))
    assert answer_of(["iw"]) == "bin\n"
