"""Services, kernel events, printers, USB, heat, logins and start-up programs, as systems write them."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.facts.parsers.event_tally import MAX_EVENTS, EventTally, merged
from agent.facts.parsers.hwmon import HOTTEST_C, parse_chip
from agent.facts.parsers.kernel_log import (
    KernelLine,
    Seen,
    classify,
    core_name,
    parse_journal_line,
    parse_kmsg,
    whole_disk,
)
from agent.facts.parsers.printers import parse_printers
from agent.facts.parsers.service_lists import (
    Unit,
    failed_service,
    parse_plain_units,
    parse_sc_query,
    parse_show,
    parse_units,
)
from agent.facts.parsers.startup_entries import parse_desktop_entry, parse_reg_query, program_of, run_programs
from agent.facts.parsers.usb import UsbFunction, usb_device
from agent.facts.parsers.utmp import Starts, parse_session, parse_starts, parse_utmp
from protocol.codec import encode
from protocol.sections.catalogue import decode_section
from protocol.sections.devices import Devices, Printer, UsbDevice
from protocol.sections.events import Event, Events
from protocol.sections.services import FailedService, Services
from protocol.sections.startup import Startup, StartupProgram
from protocol.sections.temperatures import Fan, Sensor, Temperatures
from protocol.sections.users import LoggedIn, Users

# -- the kernel's log -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "subject"),
    [
        ("Out of memory: Killed process 812 (Web Content) total-vm:2kB, anon-rss:1kB", "oom", "Web Content"),
        ("Out of memory: Kill process 812 (java) score 900 or sacrifice child", "oom", "java"),
        ("Memory cgroup out of memory: Killed process 3 (python3) total-vm:1kB", "oom-limit", "python3"),
        ("firefox[1234]: segfault at 0 ip 00007f3a sp 00007ffd error 4 in libxul.so[7f3a+1000]", "crash", "firefox"),
        ("traps: gnome-shell[1234] general protection fault ip:7f sp:7f error:0 in libc.so.6", "crash", "gnome-shell"),
        ("traps: node[9] trap invalid opcode ip:1 sp:2 error:0 in node[400000+1000]", "crash", "node"),
        ("blk_update_request: I/O error, dev sda, sector 123456 op 0x0:(READ) flags 0x80700", "disk", "sda"),
        ("I/O error, dev nvme0n1, sector 52480 op 0x0:(READ) flags 0x80700 phys_seg 1", "disk", "nvme0n1"),
        ("critical medium error, dev sdb, sector 5 op 0x0:(READ)", "disk", "sdb"),
        ("Buffer I/O error on dev sda1, logical block 0, async page read", "disk", "sda"),
        ("ata1.00: failed command: READ FPDMA QUEUED", "disk", "ata1"),
        ("nvme nvme0: I/O 12 QID 4 timeout, aborting", "disk", "nvme0"),
        ("nvme nvme0: controller is down; will reset: CSTS=0xffffffff", "disk", "nvme0"),
        ("mmcblk0: recovery failed! error -110", "disk", "mmcblk0"),
        ("EXT4-fs error (device sda2): ext4_find_entry:1455: inode #2: comm ls: reading", "filesystem", "sda2"),
        ("EXT4-fs (dm-0): Remounting filesystem read-only", "filesystem", "dm-0"),
        ("Aborting journal on device sda2-8.", "filesystem", "sda2"),
        ("JBD2: Error -5 detected when updating journal superblock for sda2-8.", "filesystem", "sda2"),
        ('XFS (sdc1): metadata I/O error in "xfs_trans" at daddr 0x1', "filesystem", "sdc1"),
        ("BTRFS error (device nvme0n1p3: state EA): bdev errs", "filesystem", "nvme0n1p3"),
        ("FAT-fs (sdd1): error, fat_get_cluster: invalid cluster chain", "filesystem", "sdd1"),
        ("mce: CPU3: Package temperature above threshold, cpu clock throttled (total events = 9)", "throttled", ""),
        ("EDAC MC0: 1 CE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0", "memory-error", "MC0"),
        ("mce: [Hardware Error]: Machine check events logged", "machine-check", ""),
        ("INFO: task jbd2/sda2-8:312 blocked for more than 120 seconds.", "hang", "jbd2/sda2-8"),
        ("watchdog: BUG: soft lockup - CPU#2 stuck for 22s! [kworker/2:1:99]", "kernel", ""),
        ("BUG: unable to handle page fault for address: ffff", "kernel", ""),
        ("rcu: INFO: rcu_preempt self-detected stall on CPU", "kernel", ""),
        ("usb 1-2: device descriptor read/64, error -71", "usb", "1-2"),
        ("usb usb2-port3: unable to enumerate USB device", "usb", "usb2-port3"),
        ("usb usb1-port2: over-current condition", "usb-power", "usb1-port2"),
        ("hwmon hwmon1: Undervoltage detected!", "under-voltage", ""),
        ("Under-voltage detected! (0x00050005)", "under-voltage", ""),
        ("i915 0000:00:02.0: [drm] GPU HANG: ecode 9:1:85dffffb, in Xorg [1]", "graphics", "i915"),
        ("[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx timeout, signaled seq=1", "graphics", "amdgpu"),
        ("NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", "graphics", ""),
        ("iwlwifi 0000:00:14.3: Microcode SW error detected. Restarting 0x0.", "wifi", "iwlwifi"),
    ],
)
def test_the_kernel_s_sentences_are_understood(text: str, kind: str, subject: str) -> None:
    seen = classify(text)
    assert seen is not None and (seen.kind, seen.subject) == (kind, subject)


@pytest.mark.parametrize(
    "text",
    [
        "usb 1-1: new high-speed USB device number 3 using xhci_hcd",
        "I/O error, dev sr0, sector 0 op 0x0:(READ)",
        "Buffer I/O error on dev fd0, logical block 0",
        "EXT4-fs (sda2): mounted filesystem with ordered data mode",
        "EXT4-fs error (device loop3): ext4_lookup:1: comm snapd",
        "ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0], AE_NOT_FOUND",
        "random: crng init done",
        "[drm] GPU HANG is not what this line says",
        "mce: CPU supports 9 MCE banks",
        "",
    ],
)
def test_everyday_lines_and_scratched_discs_are_no_events(text: str) -> None:
    assert classify(text) is None


def test_only_the_kernel_s_own_records_count_and_their_tail_is_no_text() -> None:
    record = b"4,812,5140900,-;I/O error, dev sda, sector 1\n SUBSYSTEM=block\n DEVICE=b8:0\n"
    assert parse_kmsg(record) == KernelLine(5140900, "I/O error, dev sda, sector 1")
    forged = record.replace(b"4,812", b"12,812")  # facility 1: a program that writes to /dev/kmsg
    assert parse_kmsg(forged) is None and parse_kmsg(b"-- not a record") is None
    assert parse_kmsg(b"4,1,1,c,caller=T1;x") == KernelLine(1, "x")


def test_the_journal_s_lines_are_the_same_also_where_they_are_no_text() -> None:
    entry = {"__REALTIME_TIMESTAMP": "1700000000000000", "MESSAGE": "Oops: 0000", "_TRANSPORT": "kernel"}
    assert parse_journal_line(encode(entry)) == KernelLine(1_700_000_000_000_000, "Oops: 0000")
    assert parse_journal_line(encode({**entry, "MESSAGE": [79, 111, 112, 115, 255]})) == KernelLine(
        1_700_000_000_000_000, "Oops\N{REPLACEMENT CHARACTER}"
    )
    wrongs: list[dict[str, Any]] = [{"_TRANSPORT": "syslog"}, {"MESSAGE": None}, {"__REALTIME_TIMESTAMP": "-5"}]
    assert [parse_journal_line(encode({**entry, **wrong})) for wrong in wrongs] == [None] * 3


@pytest.mark.parametrize(
    ("file", "program"),
    [
        ("core.firefox.1000.5c4d5c4d5c4d5c4d5c4d5c4d5c4d5c4d.1234.1700000000000000.zst", "firefox"),
        ("core.a\\x2eout.0.5c4d5c4d5c4d5c4d5c4d5c4d5c4d5c4d.1.1700000000000000", "a.out"),
        ("_usr_bin_gnome-shell.1000.crash", "gnome-shell"),
        ("_usr_lib_firefox_firefox.1000.uploaded", "firefox"),
        ("core", ""),
        ("secret-document.odt", ""),
    ],
)
def test_of_a_crash_only_the_program_s_name_is_taken(file: str, program: str) -> None:
    assert core_name(file) == program


def test_a_partition_s_disk_is_the_disk() -> None:
    names = ("sda1", "nvme0n1p2", "mmcblk0p1", "nvme0n1", "sda", "vdb3", "md0")
    assert [whole_disk(name) for name in names] == ["sda", "nvme0n1", "mmcblk0", "nvme0n1", "sda", "vdb", "md0"]


def test_a_flood_is_counted_and_bounded() -> None:
    tally = EventTally()
    for number in range(5000):
        tally.add(Seen("disk", "sda"), 1000.0 + number)
        tally.add(Seen("crash", f"program-{number}"), 1000.0)
    events = tally.events()
    assert len(events) == MAX_EVENTS
    assert next(event for event in events if event.kind == "disk") == Event(
        kind="disk", subject="sda", count=5000, last_at=5999
    )


def test_a_crash_that_is_logged_and_kept_counts_once() -> None:
    def crash(subject: str, count: int) -> Event:
        return Event(kind="crash", subject=subject, count=count, last_at=9)

    logged = (crash("vlc", 2), Event(kind="oom", count=1, last_at=5))
    assert merged(logged, (crash("vlc", 3), crash("gimp", 1))) == (crash("gimp", 1), crash("vlc", 3), logged[1])


# -- services -------------------------------------------------------------------------------------------------------

UNITS = [
    {"unit": "cups.service", "load": "loaded", "active": "failed", "sub": "failed", "description": "CUPS Scheduler"},
    {"unit": "x.service", "load": "loaded", "active": "activating", "sub": "auto-restart", "description": "X"},
    {"unit": "--force", "load": "", "active": "", "sub": "", "description": "an option"},
]
SHOW = (
    "Id=cups.service\nDescription=CUPS Scheduler\nResult=exit-code\nExecMainStatus=1\nNRestarts=5\n"
    "StateChangeTimestamp=@1700000000\n\nId=x.service\nResult=success\nNRestarts=12\nStateChangeTimestamp=\n"
)
SC = """
SERVICE_NAME: Spooler
DISPLAY_NAME: Print Spooler
        TYPE               : 110  WIN32_OWN_PROCESS  (interactive)
        STATE              : 1  STOPPED
        WIN32_EXIT_CODE    : 1067  (0x42b)
        SERVICE_EXIT_CODE  : 0  (0x0)
        CHECKPOINT         : 0x0

NOMBRE_SERVICIO: Fax
NOMBRE_PARA_MOSTRAR : Fax
        TIPO               : 10  WIN32_OWN_PROCESS
        ESTADO             : 1  STOPPED
        C\xd3D_SALIDA_WIN32   : 1077  (0x435)
        C\xd3D_SALIDA_SERV.   : 0  (0x0)

SERVICE_NAME: Own
DISPLAY_NAME: Its own code
        TYPE               : 10  WIN32_OWN_PROCESS
        STATE              : 1  STOPPED
        WIN32_EXIT_CODE    : 1066  (0x42a)
        SERVICE_EXIT_CODE  : 7  (0x7)
"""


def test_failed_services_come_with_their_reasons_and_options_are_no_units() -> None:
    units = parse_units(encode(UNITS))
    assert units == (Unit("cups.service", "CUPS Scheduler"), Unit("x.service", "X", waits=True))
    shown = parse_show(SHOW)
    assert failed_service(units[0], shown["cups.service"]) == FailedService(
        name="cups.service", title="CUPS Scheduler", result="exit-code", status=1, since_at=1_700_000_000, restarts=5
    )
    assert failed_service(units[1], shown["x.service"]) == FailedService(name="x.service", title="X", restarts=12)
    assert failed_service(Unit("y.service"), {}) == FailedService(name="y.service")


def test_an_older_systemd_lists_in_columns() -> None:
    assert parse_units(b"cups.service loaded failed failed CUPS Scheduler\n") is None
    text = "\u25cf cups.service loaded failed failed CUPS Scheduler\nx.service loaded activating auto-restart X\nend\n"
    assert parse_plain_units(text) == (
        Unit("cups.service", "CUPS Scheduler"),
        Unit("x.service", "X", waits=True),
    )


def test_windows_services_that_ended_with_an_error_are_told_in_any_language() -> None:
    assert [(s.name, s.title, s.status) for s in parse_sc_query(SC)] == [
        ("Spooler", "Print Spooler", 1067),
        ("Own", "Its own code", 7),
    ]


# -- what is plugged in ---------------------------------------------------------------------------------------------

LPSTAT = """\
printer Office now printing Office-12.  enabled since Sat 28 Nov 2026 10:00:00
\tForm mounted:
\tContent types: any
\tDescription: In the office
\tAlerts: media-low-warning
\tLocation: 2nd floor
\tOn fault: no alert
printer Zebra disabled since Sat 28 Nov 2026 09:00:00 -
\tPaused
\tAlerts: paused, media-empty-error
printer Idle is idle.  enabled since Sat 28 Nov 2026 09:00:00
\tAlerts: none
system default destination: Office
Office accepting requests since Sat 28 Nov 2026 10:00:00
Zebra not accepting requests since Sat 28 Nov 2026 09:00:00 -
\tRejecting Jobs
Office-12               dana              1024   Sat 28 Nov 2026 10:00:01
Office-13               dana              1024   Sat 28 Nov 2026 10:00:02
Zebra-9                 root              4096   Sat 28 Nov 2026 10:00:02
\tStatus: waiting
\tAlerts: printer-stopped
"""


def test_printers_are_told_with_what_ails_them_and_not_who_prints() -> None:
    printers = parse_printers(LPSTAT)
    assert printers == (
        Printer(name="Idle", state="idle"),
        Printer(
            name="Office", state="printing", reasons=("media-low-warning",), accepting=True, waiting=2, default=True
        ),
        Printer(name="Zebra", state="stopped", reasons=("paused", "media-empty-error"), accepting=False, waiting=1),
    )
    assert b"dana" not in encode(Devices(printers=printers))


def test_usb_devices_are_named_without_serial_numbers_and_hubs_are_left_out() -> None:
    values = {
        "idVendor": "046d",
        "idProduct": "c52b",
        "manufacturer": "Logitech",
        "product": "USB Receiver",
        "bDeviceClass": "00",
        "speed": "12",
        "serial": "SECRET",
    }
    device = usb_device("1-2", values, [UsbFunction("03", True), UsbFunction("03", True)])
    assert device == UsbDevice(
        port="1-2",
        id="046d:c52b",
        maker="Logitech",
        product="USB Receiver",
        kinds=("keyboard or mouse",),
        speed_mbps=12,
        driver=True,
    )
    assert b"SECRET" not in encode(device)
    assert usb_device("1-2", {**values, "bDeviceClass": "09"}, []) is None
    assert usb_device("1-2", {**values, "idVendor": "046D; rm"}, []) is None
    unknown = usb_device("1-3", {**values, "speed": "1.5"}, [UsbFunction("ff", False)])
    assert unknown is not None and (unknown.driver, unknown.speed_mbps, unknown.kinds) == (False, 1, ())


# -- heat -----------------------------------------------------------------------------------------------------------


def test_a_chip_s_sensors_and_fans_are_read_and_what_is_not_soldered_is_not() -> None:
    chip = parse_chip(
        "coretemp",
        {
            "temp1_input": "71000",
            "temp1_label": "Package id 0",
            "temp1_max": "100000",
            "temp1_crit": "105000",
            "temp2_input": "70000",
            "temp2_label": "Core 0",
        },
    )
    assert chip.sensors == (Sensor(chip="coretemp", label="Package id 0", celsius=71, high_c=100, critical_c=105),)
    board = parse_chip(
        "nct6775",
        {
            "temp1_input": "38500",
            "temp2_input": "127000",
            "temp3_input": "0",
            "temp4_input": "-62000",
            "temp5_input": "40000",
            "temp5_fault": "1",
            "temp6_input": "no",
            "temp1_max": "0",
            "fan1_input": "0",
            "fan2_input": "1200",
            "fan2_label": "CPU",
            "fan3_fault": "1",
        },
    )
    assert board.sensors == (Sensor(chip="nct6775", celsius=38),)
    assert board.fans == (
        Fan(chip="nct6775", label="fan1", turns=False),
        Fan(chip="nct6775", label="CPU", turns=True),
        Fan(chip="nct6775", label="fan3", fault=True),
    )


# -- logins and starts ----------------------------------------------------------------------------------------------


def utmp(kind: int, user: str = "", line: str = "", host: str = "", at: int = 0) -> bytes:
    head = struct.pack("<hxxi32s4s32s256s", kind, 1, line.encode(), b"", user.encode(), host.encode())
    return head + struct.pack("<hhiii16s20x", 0, 0, 0, at, 0, b"")


def test_logins_are_told_from_where_they_are_without_the_host() -> None:
    data = utmp(7, "dana", "tty2", "", 100) + utmp(7, "sam", "pts/0", "198.51.100.7", 200) + utmp(8, "gone", "pts/1")
    data += utmp(7, "lee", ":0", ":0", 300) + b"cut"
    assert parse_utmp(data) == (
        LoggedIn(name="dana", where="tty2", since_at=100),
        LoggedIn(name="sam", where="pts/0", remote=True, since_at=200),
        LoggedIn(name="lee", where=":0", graphical=True, since_at=300),
    )
    assert b"198.51" not in encode(Users(users=parse_utmp(data)))


def test_a_start_that_no_shutdown_preceded_is_unclean_and_the_first_in_the_file_tells_nothing() -> None:
    def boot(at: int) -> bytes:
        return utmp(2, "reboot", "~", "6.1.0", at)

    def down(at: int) -> bytes:
        return utmp(1, "shutdown", "~", "6.1.0", at)

    data = boot(100) + down(200) + boot(300) + utmp(7, "dana", "tty2", "", 310) + boot(400) + boot(500) + down(600)
    assert parse_starts(data, 0) == Starts(2, 500)
    assert parse_starts(data, 450) == Starts(1, 500)
    assert parse_starts(boot(100) + down(200) + boot(300), 0) == Starts()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "USER=dana\nTYPE=wayland\nCLASS=user\nSTATE=active\nSEAT=seat0\nTTY=tty2\n"
            "REALTIME=1700000000000000\nREMOTE=0\n",
            LoggedIn(name="dana", where="tty2", graphical=True, since_at=1_700_000_000),
        ),
        (
            "USER=sam\nTYPE=tty\nCLASS=user\nSTATE=active\nREMOTE=1\nREMOTE_HOST=198.51.100.7\n",
            LoggedIn(name="sam", remote=True),
        ),
        ("USER=gdm\nTYPE=wayland\nCLASS=greeter\nSTATE=online\n", None),
        ("USER=dana\nTYPE=tty\nCLASS=user\nSTATE=closing\n", None),
        ("USER=root\nTYPE=unspecified\nCLASS=background\nSTATE=active\n", None),
        ("USER=dana\nTYPE=unspecified\nCLASS=manager\nSTATE=active\n", None),
    ],
)
def test_logind_s_sessions_are_people_s(text: str, expected: LoggedIn | None) -> None:
    assert parse_session(text) == expected


# -- what starts by itself ------------------------------------------------------------------------------------------


def test_an_autostart_entry_is_told_without_the_arguments_that_may_be_secret() -> None:
    text = (
        "[Desktop Entry]\nName=Sync\nName[es]=Sincroniza\nExec=env TOKEN=x /opt/sync/bin/sync --password hunter2\n"
        "X-GNOME-Autostart-enabled=true\n[Desktop Action x]\nExec=other\n"
    )
    entry = parse_desktop_entry(text, "sync.desktop", "dana")
    assert entry == StartupProgram(name="Sync", program="sync", how="autostart", owner="dana")
    assert entry is not None and b"hunter2" not in encode(Startup(programs=(entry,)))
    off = parse_desktop_entry(text.replace("enabled=true", "enabled=false"), "sync.desktop")
    assert off is not None and not off.enabled
    assert parse_desktop_entry("[Desktop Entry]\nName=x\n", "x.desktop") is None
    assert parse_desktop_entry("Exec=before-the-group\n", "x.desktop") is None


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (r'"C:\Program Files\Steam\steam.exe" -silent', "steam.exe"),
        (r"C:\Program Files\Steam\steam.exe -silent", "steam.exe"),
        (r"%LOCALAPPDATA%\Sync\Sync.exe /background", "Sync.exe"),
        ("/usr/bin/firefox %u", "firefox"),
        ("sh -c '/opt/x/start --password hunter2'", "start"),
        ("'unbalanced", "'unbalanced"),
        ("", ""),
    ],
)
def test_a_command_line_s_program_is_found(command: str, program: str) -> None:
    assert program_of(command) == program


REG = (
    "\r\nHKEY_LOCAL_MACHINE\\Software\\Microsoft\\Windows\\CurrentVersion\\Run\r\n"
    "    SecurityHealth    REG_EXPAND_SZ    %windir%\\system32\\SecurityHealthSystray.exe\r\n"
    '    Two words    REG_SZ    "C:\\Apps\\Tray Thing\\tray.exe" --key=secret\r\n'
    "    Number    REG_DWORD    0x1\r\n\r\n"
    "HKEY_CURRENT_USER\\Software\\Microsoft\\Windows\\CurrentVersion\\RunOnce\r\n"
    "    Once    REG_SZ    C:\\setup.exe\r\n"
)
APPROVED = (
    "HKEY_LOCAL_MACHINE\\...\\StartupApproved\\Run\r\n    Two words    REG_BINARY    030000005A6B7C8D\r\n"
    "    SecurityHealth    REG_BINARY    020000000000000000000000\r\n"
)


def test_the_run_keys_of_windows_are_read_with_what_task_manager_switched_off() -> None:
    programs = run_programs(parse_reg_query(REG), parse_reg_query(APPROVED))
    assert programs == (
        StartupProgram(name="SecurityHealth", program="SecurityHealthSystray.exe", how="run"),
        StartupProgram(name="Two words", program="tray.exe", how="run", enabled=False),
        StartupProgram(name="Once", program="setup.exe", how="run-once"),
    )


# -- anything -------------------------------------------------------------------------------------------------------

TEXTS = [LPSTAT, SC, SHOW, REG, json.dumps(UNITS), "4,812,5140900,-;I/O error, dev sda, sector 1\n"]
damaged = st.one_of(
    st.text(max_size=400),
    st.sampled_from(TEXTS).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.text(max_size=12), st.integers(0, 40)).map(
            lambda cut: text[: cut[0]] + cut[1] + text[cut[0] + cut[2] :]
        )
    ),
)


@settings(max_examples=300, deadline=None)
@given(damaged, st.binary(max_size=800))
def test_any_text_becomes_sections_that_their_readers_accept(text: str, data: bytes) -> None:
    raw = text.encode("utf-8", "replace")
    units = parse_units(raw) or parse_plain_units(text)
    shown = parse_show(text)
    failed = tuple(failed_service(unit, shown.get(unit.name, {})) for unit in units)
    tally = EventTally()
    for one in (classify(line) for line in text.splitlines()):
        if one is not None:
            tally.add(one, 1e300)
    entry = parse_desktop_entry(text, "x.desktop")
    session = parse_session(text)
    chip = parse_chip(text, {"temp1_input": text, "fan1_input": text, "temp1_label": text})
    sections: dict[str, Any] = {
        "services": Services(failed=failed + parse_sc_query(text)),
        "events": Events(events=tally.events()),
        "devices": Devices(printers=parse_printers(text)),
        "startup": Startup(
            programs=((entry,) if entry else ()) + run_programs(parse_reg_query(text), parse_reg_query(text))
        ),
        "users": Users(users=parse_utmp(data) + ((session,) if session else ())),
        "temperatures": Temperatures(sensors=chip.sensors, fans=chip.fans),
    }
    for name, section in sections.items():
        assert decode_section(name, encode(section)) == section
    assert all(sensor.celsius <= HOTTEST_C for sensor in chip.sensors)
    line = parse_kmsg(raw)
    assert line is None or len(line.text) <= 500
    assert parse_starts(data, 0).unclean >= 0
    assert len(core_name(text)) <= 64 and len(program_of(text)) <= 120
