"""Programs that are asked: bounded in time and size, paid for by whoever asked; and sources that need one, or root."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.facts import source as source_module
from agent.facts.collectors import health as health_collector
from agent.facts.collectors.battery import battery_section
from agent.facts.collectors.health import health_section, services_section
from agent.facts.collectors.surroundings import startup_section
from agent.facts.parsers.power_supply import Supply
from agent.facts.parsers.smartctl import SmartDevice
from agent.facts.source import Asked, Hung, Missing, Source
from agent.facts.sources import command, crashes, health, heat, plugged, power, service_state, startup, theirs
from agent.facts.sources.command import MAX_OUTPUT_BYTES, run
from agent.facts.sources.kernel_log import KernelLog
from protocol.sections.battery import Cell
from protocol.sections.health import DiskHealth
from protocol.sections.startup import StartupProgram
from protocol.system_clock import SystemClock
from tests.support.samples import ROOT

CLOCK = SystemClock()

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="scripts of a POSIX shell")


def asked(platform: str = "linux") -> Asked:
    return Asked(Hung(), CLOCK, CLOCK.monotonic() + 60, platform=platform)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is searched for programs before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(source_module, "PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(source_module, "is_root", lambda: True)
    monkeypatch.setattr(source_module, "is_roots", lambda path: True)
    return folder


def script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


# -- programs -------------------------------------------------------------------------------------------------------


def test_a_program_is_run_in_the_c_locale_with_nothing_to_read(path: Path) -> None:
    script(path, "tell", 'echo "$LC_ALL $1"; cat; echo fault >&2; echo more >&2; exit 3')
    printed = run("tell", "a b", deadline_s=30)
    assert (printed.status, printed.text, printed.fault) == (3, "C.UTF-8 a b\n", "fault")


def test_a_program_that_does_not_end_is_killed_and_one_that_never_stops_talking_is_cut(path: Path) -> None:
    script(path, "hangs", "exec sleep 600")
    with pytest.raises(Missing, match="hangs did not end within"):
        run("hangs", deadline_s=0.2)
    script(path, "talks", "exec yes")
    printed = run("talks", deadline_s=60)
    assert len(printed.output) == MAX_OUTPUT_BYTES and printed.status != 0


def test_a_program_s_work_is_on_the_account_of_its_section(path: Path) -> None:
    script(path, "works", "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo done")
    a = asked()
    assert a.ask(Source(name="works", ask=lambda: run("works", deadline_s=60).text, deadline_s=60), "") == "done\n"
    assert a.cpu_s > 0.01


def test_a_source_that_needs_a_program_or_root_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "is_root", lambda: False)
    a = asked()
    a.ask(Source(name="x", ask=lambda: 1, program="no-such-program-at-all"), None)
    a.ask(Source(name="y", ask=lambda: 1, root=True), None)
    assert a.unavailable == {"x": "the program no-such-program-at-all is not installed", "y": "only root may ask it"}
    with pytest.raises(Missing, match="not installed"):
        run("no-such-program-at-all", deadline_s=5)


# -- disks ----------------------------------------------------------------------------------------------------------

SCAN = (
    '{"devices":[{"name":"/dev/sda","type":"scsi"},{"name":"/dev/sdb","type":"scsi"},{"name":"/dev/sdc","type":"sat"}]}'
)
ASLEEP = '{"smartctl":{"exit_status":2,"messages":[{"string":"Device is in STANDBY mode, exit(2)"}]}}'
BRIDGE = '{"smartctl":{"exit_status":1,"messages":[{"string":"Unknown USB bridge; use the -d option"}]}}'


def test_each_disk_is_asked_by_itself_and_a_sleeping_or_hidden_one_is_told(path: Path) -> None:
    sample = ROOT / "storage" / "smartctl-scrutiny-smart-fail2.json"
    if not sample.exists():
        pytest.skip("the recorded files are not at hand")
    script(
        path,
        "smartctl",
        f"""case "$*" in
*--scan*) echo '{SCAN}' ;;
*"-d sat /dev/sda"*) cat {sample}; exit 216 ;;
*/dev/sda) echo '{BRIDGE}'; exit 1 ;;
*"-n standby"*/dev/sdb) echo '{ASLEEP}'; exit 2 ;;
*) echo nonsense; exit 1 ;;
esac""",
    )
    section = health_section(asked())
    by_name = {disk.name: disk for disk in section.disks}
    assert by_name["sda"].passed is False and by_name["sda"].pending == 8, "a bridge that needed to be told of"
    assert by_name["sdb"] == DiskHealth(name="sdb", asleep=True)
    assert section.unavailable == {"smart sdc": "smartctl printed nothing that can be read"}


def test_disks_behind_a_controller_are_told_apart() -> None:
    names = [health.smart_of(SmartDevice("/dev/bus/0", f"megaraid,{number}")).name for number in range(2)]
    assert names == ["smart 0 megaraid,0", "smart 0 megaraid,1"]


# -- services -------------------------------------------------------------------------------------------------------


def test_failed_units_come_with_their_details_in_three_programs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_state, "BOOTED", tmp_path)
    listed = '[{"unit":"cups.service","sub":"failed","description":"CUPS"},{"unit":"x.service","sub":"auto-restart"}]'
    show = "Id=cups.service\\nResult=exit-code\\nExecMainStatus=1\\n\\nId=x.service\\nNRestarts=40\\n"
    script(
        path,
        "systemctl",
        f"""echo "$*" >> {tmp_path}/asked
case "$*" in
*SystemState*) echo SystemState=degraded ;;
list-units*json*) echo '{listed}' ;;
*"-- cups.service x.service") printf '{show}' ;;
*) exit 1 ;;
esac""",
    )
    section = services_section(asked())
    assert (section.manager, section.state) == ("systemd", "degraded")
    [cups], [x] = section.failed, section.restarting
    assert (cups.name, cups.result, cups.status, x.name, x.restarts) == (
        "cups.service",
        "exit-code",
        1,
        "x.service",
        40,
    )
    assert len((tmp_path / "asked").read_text().splitlines()) == 3
    script(path, "systemctl", 'echo "Failed to connect to bus" >&2; exit 1')
    assert services_section(asked()).unavailable["systemd"] == "Failed to connect to bus"


# -- heat, USB and autostart, from folders like the kernel's --------------------------------------------------------


def fill(folder: Path, values: dict[str, str]) -> None:
    for name, value in values.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(value)


def test_heat_is_read_from_hwmon_and_else_from_thermal_zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat, "HWMON", tmp_path / "hwmon")
    monkeypatch.setattr(heat, "THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(heat, "CPUS", tmp_path / "cpu")
    monkeypatch.setattr(heat, "RASPBERRY", tmp_path / "get_throttled")
    fill(tmp_path / "hwmon/hwmon0", {"name": "k10temp\n", "temp1_input": "61500\n", "temp1_label": "Tctl\n"})
    fill(tmp_path / "thermal/thermal_zone0", {"type": "cpu-thermal\n", "temp": "55000\n"})
    fill(tmp_path / "thermal/thermal_zone0", {"trip_point_0_type": "critical\n", "trip_point_0_temp": "110000\n"})
    fill(tmp_path / "cpu", {f"cpu{n}/thermal_throttle/package_throttle_count": f"{n * 7}\n" for n in range(3)})
    fill(tmp_path, {"get_throttled": "0x50000\n"})
    [chip] = heat.CHIPS.ask()
    assert [(s.chip, s.label, s.celsius) for s in chip.sensors] == [("k10temp", "Tctl", 62)]
    assert [(s.chip, s.celsius, s.critical_c) for s in heat.ZONES.ask()] == [("cpu-thermal", 55, 110)]
    assert heat.THROTTLED.ask() == 14
    assert heat.UNDER_VOLTAGE.ask() is True
    fill(tmp_path, {"get_throttled": "0x0\n"})
    assert heat.UNDER_VOLTAGE.ask() is False


def test_usb_is_read_with_its_functions_and_ports_that_were_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugged, "USB", tmp_path)
    fill(tmp_path / "usb1", {"idVendor": "1d6b", "idProduct": "0002", "bDeviceClass": "09"})
    fill(tmp_path / "usb1/1-0:1.0/usb1-port2", {"over_current_count": "1\n"})
    fill(tmp_path / "usb1/1-0:1.0/usb1-port3", {"over_current_count": "0\n"})
    fill(tmp_path / "1-2", {"idVendor": "0781", "idProduct": "5567", "product": "Cruzer\n", "speed": "480\n"})
    fill(tmp_path / "1-2:1.0", {"bInterfaceClass": "08\n", "driver/module": ""})
    [stick] = plugged.USB_DEVICES.ask()
    assert (stick.id, stick.product, stick.kinds, stick.driver, stick.speed_mbps) == (
        "0781:5567",
        "Cruzer",
        ("storage",),
        True,
        480,
    )
    assert plugged.OVER_CURRENT.ask() == ("usb1-port2",)


def test_autostart_of_everybody_and_of_each_home_is_read_but_no_link_and_no_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "AUTOSTART", tmp_path / "xdg")
    monkeypatch.setattr(startup, "USER_UNITS", tmp_path / "units")
    monkeypatch.setattr(startup, "HOMES", tmp_path / "home")
    monkeypatch.setattr(startup, "ROOT_HOME", tmp_path / "root")
    monkeypatch.setattr(startup, "is_root", lambda: True)
    entry = "[Desktop Entry]\nName=Chat\nExec=/opt/chat/chat --token=x\n"
    fill(tmp_path, {"xdg/chat.desktop": entry, "home/dana/.config/autostart/own.desktop": entry, "secret": entry})
    fill(tmp_path, {"home/dana/.config/systemd/user/default.target.wants/sync.service": ""})
    mine = tmp_path / "home/dana/.config/autostart"
    (mine / "link.desktop").symlink_to(tmp_path / "secret")
    os.mkfifo(mine / "pipe.desktop")
    assert startup.AUTOSTARTS.ask() == (
        StartupProgram(name="Chat", program="chat", how="autostart"),
        StartupProgram(name="Chat", program="chat", how="autostart", owner="dana"),
        StartupProgram(name="sync.service", program="sync.service", how="unit", owner="dana"),
    )


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("link", [".config", ".config/autostart", ".config/systemd/user/default.target.wants"])
def test_no_link_leads_root_from_a_home_to_a_folder_of_another_s(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AUTOSTART", "USER_UNITS", "ROOT_HOME"):
        monkeypatch.setattr(startup, name, tmp_path / "none")
    monkeypatch.setattr(startup, "HOMES", tmp_path / "home")
    monkeypatch.setattr(startup, "is_root", lambda: True)
    entry = "[Desktop Entry]\nName=Chat\nExec=/opt/chat/chat\n"
    fill(tmp_path, {"home/dana/.config/autostart/own.desktop": entry})
    fill(tmp_path, {"home/dana/.config/systemd/user/default.target.wants/sync.service": ""})
    folder = tmp_path / "home/dana" / link
    lost = 2 if link == ".config" else 1
    os.chown(folder, 65534, -1)
    assert len(startup.AUTOSTARTS.ask()) == 2 - lost, "a folder of another's"
    os.chown(folder, 0, -1)
    assert len(startup.AUTOSTARTS.ask()) == 2
    folder.rename(tmp_path / "secret")
    folder.symlink_to(tmp_path / "secret")
    assert len(startup.AUTOSTARTS.ask()) == 2 - lost, "a link"


def test_a_folder_without_end_is_listed_to_a_bound(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number}.desktop").touch()
    looked_at = 0

    class Counted:
        def __init__(self, folder: int) -> None:
            self._entries = scandir(folder)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return self._each()

        def __exit__(self, *args: object) -> None:
            self._entries.close()

        def _each(self) -> Iterator[os.DirEntry[str]]:
            nonlocal looked_at
            for entry in self._entries:
                looked_at += 1
                yield entry

    scandir = os.scandir
    with theirs.folder_in(tmp_path) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", Counted)
        assert len(theirs.names_in(folder, 5, suffix=".desktop")) == 5
    assert looked_at == 5 * theirs.LOOKED_AT


def test_printers_are_not_asked_for_where_there_is_no_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*words: str, deadline_s: float) -> command.Printed:
        raise AssertionError("a question would start CUPS")

    monkeypatch.setattr(plugged, "run", never)
    monkeypatch.setattr(plugged, "QUEUES", tmp_path / "printers.conf")
    assert plugged.PRINTERS.ask() == ()
    (tmp_path / "printers.conf").write_text("")
    assert plugged.PRINTERS.ask() == ()


# -- other systems' programs, played by scripts that print what was recorded ----------------------------------------


def recorded(kind: str, name: str) -> Path:
    file = ROOT / kind / name
    if not file.exists():
        pytest.skip("the recorded files are not at hand")
    return file


def test_nvme_cli_is_asked_where_smartctl_is_not_installed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed, log = recorded("storage", "nvme-list-2.11.json"), recorded("storage", "nvme-smart-log-2.11.json")
    script(path, "nvme", f'case "$1" in list) cat {listed} ;; smart-log) cat {log} ;; esac')
    monkeypatch.setattr(health_collector, "find_program", lambda name: None if name == "smartctl" else name)
    section = health_section(asked())
    assert [(disk.name, disk.wear_percent) for disk in section.disks] == [(f"nvme{n}", 30) for n in range(3)]
    assert section.unavailable == {}


def test_windows_is_asked_by_its_own_programs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(path, "wmic", f"cat {recorded('storage', 'msft-physicaldisk-latitude-7480.txt')}")
    script(path, "powercfg", f'cat {recorded("battery", "powercfg-batteryreport-notebook.xml")} > "$4"')
    script(
        path,
        "sc",
        "printf 'SERVICE_NAME: Spooler\\nDISPLAY_NAME: Print Spooler\\n  A : 1\\n  B : 1\\n  C : 5\\n  D : 0\\n'",
    )
    script(path, "reg", "printf 'HKLM\\\\x\\\\Run\\n    Chat    REG_SZ    C:\\\\chat.exe --key=x\\n'")
    monkeypatch.setattr(
        power, "SUPPLIES_ELSEWHERE", Source(name="p", ask=lambda: (Supply(cell=Cell(name="b", percent=40)),))
    )
    [disk] = health_section(asked("win32")).disks
    assert (disk.name, disk.passed) == ("PhysicalDrive0", True)
    cells = battery_section(asked("win32")).cells
    assert [(cell.name, cell.percent, cell.health_percent) for cell in cells] == [
        ("00HW023", 40, 83),
        ("01AV406", 40, 69),
    ]
    assert [service.name for service in services_section(asked("win32")).failed] == ["Spooler"]
    assert {(one.name, one.program) for one in startup_section(asked("win32")).programs} == {("Chat", "chat.exe")}


def test_a_mac_a_bsd_and_a_machine_without_supplies_of_its_own_are_asked_by_their_programs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "SUPPLIES_ELSEWHERE", Source(name="p", ask=lambda: ()))
    monkeypatch.setattr(power, "POWER_SUPPLY", tmp_path / "none")
    script(path, "system_profiler", f"cat {recorded('battery', 'sppower-charging.txt')}")
    mac = battery_section(asked("darwin"))
    assert (mac.mains, mac.cells[0].condition, mac.cells[0].cycles) == (True, "good", 125)
    script(path, "acpiconf", f'[ "$2" = 0 ] && cat {recorded("battery", "acpiconf-infos-1.txt")}')
    assert [cell.health_percent for cell in battery_section(asked("freebsd14")).cells] == [95]
    monkeypatch.setattr(power, "find_program", lambda name: name if name == "acpi" else None)
    script(path, "acpi", f"cat {recorded('battery', 'jc-acpi-V-never-fully-discharge.txt')}")
    assert [cell.health_percent for cell in battery_section(asked()).cells] == [108, 68, None]
    monkeypatch.setattr(power, "find_program", lambda name: name)
    script(path, "upower", f"cat {recorded('battery', 'upower-infos-4.1.txt')}")
    assert [cell.health_percent for cell in battery_section(asked()).cells] == [88]


def test_where_the_kernel_s_log_is_closed_the_journal_is_asked_for_what_is_new(path: Path, tmp_path: Path) -> None:
    def closed() -> int:
        raise PermissionError(13, "Permission denied", "/dev/kmsg")

    line = '{"__REALTIME_TIMESTAMP":"1700000000000000","MESSAGE":"Oops: 0000","_TRANSPORT":"kernel","__CURSOR":"c=%s"}'
    script(path, "journalctl", f'echo "$*" >> {tmp_path}/asked; cat {tmp_path}/lines')
    log = KernelLog(CLOCK, opened=closed)
    (tmp_path / "lines").write_text("")
    with pytest.raises(Missing, match="no permission for /dev/kmsg"):
        log.look()
    (tmp_path / "lines").write_text(line % 1 + "\n" + line % 2 + "\n")
    assert [(event.kind, event.count, event.last_at) for event in log.look()] == [("kernel", 2, 1_700_000_000)]
    (tmp_path / "lines").write_text(line % 3 + "\n")
    assert [event.count for event in log.look()] == [3]
    _, second, third = (tmp_path / "asked").read_text().splitlines()
    assert "--after-cursor" not in second and "--after-cursor c=2" in third


def test_core_files_and_kernel_dumps_are_counted_by_name_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashes, "CORES", (tmp_path / "coredump", tmp_path / "none"))
    monkeypatch.setattr(crashes, "DUMPS", (tmp_path / "pstore",))
    boot = "5c4d" * 8
    fill(tmp_path / "coredump", {f"core.vlc.1000.{boot}.{pid}.1700000000000000.zst": "memory" for pid in (1, 2)})
    fill(tmp_path / "coredump", {"private.odt": "x"})
    fill(tmp_path / "pstore", {"dmesg-efi-1": "x", "dmesg-efi-2": "x", "console": "x"})
    for file in (tmp_path / "pstore").iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    assert [(event.subject, event.count) for event in crashes.CORE_FILES.ask()] == [("vlc", 2)]
    assert crashes.KERNEL_DUMPS.ask() == crashes.Dumps(1, 1_700_000_000)
