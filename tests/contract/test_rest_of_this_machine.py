"""Disks' health, printers, USB, logins, the kernel's log and the clock: what we say, and what their tools say."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.facts.collect import Facts, collectors
from agent.facts.parsers.kernel_log import parse_kmsg
from agent.facts.parsers.utmp import parse_utmp
from agent.facts.sources import logins, plugged, service_state
from agent.facts.sources.health import NO_DISK
from agent.facts.sources.kernel_log import KernelLog, open_kmsg
from protocol.sections.catalogue import decode_section
from protocol.sections.devices import Devices
from protocol.sections.health import Health
from protocol.sections.users import Users
from protocol.system_clock import SystemClock
from tests.support.agent_process import wait_until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux's tools")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def output(*command: str, status: tuple[int, ...] = (0,)) -> str:
    path = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(
        [path, *command[1:]], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    assert done.returncode in status, done.stderr
    return done.stdout


async def section(name: str) -> Any:
    clock = SystemClock()
    [collected] = await Facts(collectors("1.0"), clock).collect([name], clock.now())
    return decode_section(name, collected.data)


@needs_root
async def test_disks_that_smartctl_finds_are_told_and_where_it_finds_none_we_say_so() -> None:
    listed = json.loads(output("smartctl", "--scan", "--json"))
    devices = [device["name"].removeprefix("/dev/") for device in listed.get("devices", [])]
    health: Health = await section("health")
    if not devices:
        assert health.disks == () and health.unavailable == {"smartctl": NO_DISK}
    told = {disk.name for disk in health.disks} | {name.removeprefix("smart ") for name in health.unavailable}
    assert told >= set(devices)


async def test_usb_devices_are_those_of_lsusb() -> None:
    listed = re.findall(r"ID ([0-9a-f]{4}:[0-9a-f]{4})", output("lsusb", status=(0, 1)))
    hubs = [line for line in output("lsusb", "-t", status=(0, 1)).splitlines() if re.search(r"Class=\S*hub", line)]
    devices: Devices = await section("devices")
    if "usb" in devices.unavailable:
        assert not listed and "/sys/bus/usb" in devices.unavailable["usb"]
        return
    ids = sorted(device.id for device in devices.usb)
    assert set(ids) <= set(listed) and len(ids) >= len(listed) - len(hubs)


@needs_root
def test_the_kernel_s_records_are_those_of_dmesg_and_each_is_read_once() -> None:
    raw = output("dmesg", "--raw", "--facility=kern").splitlines()
    descriptor = open_kmsg()
    ours = []
    try:
        while True:
            try:
                record = os.read(descriptor, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue
            line = parse_kmsg(record)
            if line is not None:
                ours.append(line.text)
    finally:
        os.close(descriptor)
    theirs = [re.sub(r"^<\d+>\[ *\d+\.\d+\] ?", "", line).strip()[:500] for line in raw if re.match(r"<\d+>\[", line)]
    common = set(theirs) & {text.strip() for text in ours}
    assert theirs and len(common) >= 0.95 * len(set(theirs))


def test_what_is_new_in_the_log_is_counted_and_what_was_read_is_not_again() -> None:
    """A socket pair in place of /dev/kmsg: each read is one record, and none is left when all are read."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    log = KernelLog(SystemClock(), opened=ours.detach)
    try:
        kernel.send(b"3,1,5000000,-;I/O error, dev sda, sector 1\n SUBSYSTEM=block\n")
        kernel.send(b"12,2,5000001,-;I/O error, dev sdz, sector 1\n")  # a program that pretends to be the kernel
        [first] = log.look()
        assert (first.kind, first.subject, first.count) == ("disk", "sda", 1)
        assert log.look() == (first,)
        kernel.send(b"3,3,6000000,-;I/O error, dev sda, sector 2\n")
        kernel.send(b"4,4,7000000,-;Out of memory: Killed process 7 (java) total-vm:1kB\n")
        assert [(event.kind, event.count) for event in log.look()] == [("disk", 2), ("oom", 1)]
    finally:
        log.close()
        kernel.close()


@needs_root
def test_the_clock_is_as_synchronised_as_adjtimex_says() -> None:
    said = output("adjtimex", "--print")
    error_us = int(re.search(r"maxerror: *(\d+)", said)[1])  # type: ignore[index]  # it always prints it
    assert service_state.CLOCK.ask() == (error_us < service_state.SYNCHRONISED_BELOW_US)


def utmp(kind: int, user: str, line: str, host: str, at: int) -> bytes:
    head = struct.pack("<hxxi32s4s32s256s", kind, os.getpid(), line.encode(), b"", user.encode(), host.encode())
    return head + struct.pack("<hhiii16s20x", 0, 0, 0, at, 0, b"")


def test_logins_are_those_that_who_reads_from_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "utmp"
    path.write_bytes(
        utmp(7, "dana", "tty2", "", 1_700_000_000)
        + utmp(8, "gone", "pts/9", "", 1_700_000_000)
        + utmp(7, "sam", "pts/0", "198.51.100.7", 1_700_000_600)
    )
    theirs = [line.split()[:2] for line in output("who", str(path)).splitlines()]
    assert (
        [[user.name, user.where] for user in parse_utmp(path.read_bytes())]
        == theirs
        == [
            ["dana", "tty2"],
            ["sam", "pts/0"],
        ]
    )


async def test_logins_of_this_machine_are_those_of_its_own_tool() -> None:
    users: Users = await section("users")
    if logins.SESSIONS.exists() and Path("/run/systemd/system").exists():
        listed = json.loads(output("loginctl", "list-sessions", "--output=json"))
        assert {user.name for user in users.users} <= {one["user"] for one in listed}
    elif any(path.exists() for path in logins.UTMP):
        assert sorted(user.name for user in users.users) == sorted(x.split()[0] for x in output("who").splitlines())
    else:
        assert users.users == () and output("who") == ""


# -- printers, at a real CUPS -----------------------------------------------------------------------------------------

CUPSD = """\
Listen {folder}/cups.sock
DefaultAuthType None
WebInterface No
Browsing No
IdleExitTimeout 0
<Location />
Order allow,deny
Allow all
</Location>
<Policy default>
<Limit All>
Order allow,deny
</Limit>
</Policy>
"""
CUPS_FILES = """\
ServerRoot {folder}/etc
RequestRoot {folder}/spool
CacheDir {folder}/cache
DataDir /usr/share/cups
StateDir {folder}/state
TempDir {folder}/tmp
AccessLog {folder}/access
ErrorLog {folder}/error
PageLog {folder}/page
FileDevice Yes
"""


@pytest.fixture
def cups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Debian's CUPS, with folders of the test's alone."""
    path = shutil.which("cupsd", path="/usr/sbin:/sbin")
    if path is None or shutil.which("lpstat") is None or shutil.which("lpadmin", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("there is no CUPS here")
    for name in ("etc", "spool", "cache", "state", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "cupsd.conf").write_text(CUPSD.format(folder=tmp_path))
    (tmp_path / "cups-files.conf").write_text(CUPS_FILES.format(folder=tmp_path))
    command = [path, "-f", "-c", str(tmp_path / "cupsd.conf"), "-s", str(tmp_path / "cups-files.conf")]
    with open(tmp_path / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as daemon:
        monkeypatch.setenv("CUPS_SERVER", str(tmp_path / "cups.sock"))
        try:
            wait_until((tmp_path / "cups.sock").exists, "CUPS listens")
            yield
        finally:
            daemon.terminate()


@needs_root
def test_printers_of_a_real_cups_are_told_with_their_states_and_jobs(cups: None, tmp_path: Path) -> None:
    assert plugged.read_printers() == ()
    for name in ("Office", "Zebra"):
        output("lpadmin", "-p", name, "-E", "-v", "file:///dev/null")
    output("lpadmin", "-d", "Office")
    output("cupsdisable", "Zebra")
    (tmp_path / "page.txt").write_text("a page\n")
    for _ in range(2):
        output("lp", "-d", "Zebra", str(tmp_path / "page.txt"))
    printers = {printer.name: printer for printer in plugged.read_printers()}
    assert set(printers) == {"Office", "Zebra"}
    office, zebra = printers["Office"], printers["Zebra"]
    assert (office.state, office.accepting, office.default, office.waiting) == ("idle", True, True, 0)
    assert (zebra.state, zebra.accepting, zebra.default, zebra.waiting) == ("stopped", True, False, 2)
    assert zebra.reasons == ("paused",)
    output("cupsreject", "Office")
    assert {p.name: p.accepting for p in plugged.read_printers()} == {"Office": False, "Zebra": True}


def test_a_cups_that_is_away_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("lpstat") is None:
        pytest.skip("there is no lpstat here")
    monkeypatch.setenv("CUPS_SERVER", str(tmp_path / "nobody"))
    with pytest.raises(Exception, match=r"(?i)lpstat|scheduler|connect"):
        plugged.read_printers()
