"""The agent itself on machines with memory slots: recorded firmware tables where the kernel has them, in a mount
namespace, and the real dmidecode(8) beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemons import find, need
from tests.support.relay_process import ROOT
from tests.support.samples import sample
from tests.support.smbios import as_dump, in_bytes, records, table_of

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0 or not Path("/sys/firmware").is_dir(),
    reason="needs root: another /sys/firmware is mounted",
)

MACHINE = (
    # A recorded machine is a real one; the one that tests run on is mostly virtual, and its processor says so.
    'sed \'s/ hypervisor / /\' /proc/cpuinfo > "$1" && mount --bind "$1" /proc/cpuinfo && shift && '
    "mount -t tmpfs none /sys/firmware && mkdir -p /sys/firmware/dmi/tables && "
    'cp "$0"/* /sys/firmware/dmi/tables && chmod 0400 /sys/firmware/dmi/tables/* && exec "$@"'
)
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
GIB = 1 << 30


def machine(name: str, folder: Path) -> tuple[str, ...]:
    """The prefix of a command that runs on the recorded machine."""
    table = table_of(sample("smbios", name))
    (folder / "DMI").write_bytes(table)
    (folder / "smbios_entry_point").write_bytes(as_dump(table)[:24])
    return ("unshare", "--mount", "sh", "-c", MACHINE, str(folder), str(folder.parent / f"{folder.name}-cpuinfo"))


def diagnosed(prefix: tuple[str, ...]) -> dict[str, Any]:
    command = [*prefix, sys.executable, "-m", "agent.main", "diagnose", "--json", "--state", "/nonexistent"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout.startswith("{"), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "beelink-eq12-ddr5-dump.bin",
            "16 GB in one of two slots; takes up to 64 GB; add DDR5 SO-DIMM 5600, non-ECC, ",
        ),
        ("lenovo-thinkpad-x230-dump.bin", "8 GB in both slots; takes up to 16 GB; no slot is free: "),
    ],
)
def test_the_agent_and_dmidecode_say_the_same_of_a_machine(name: str, line: str, tmp_path: Path) -> None:
    need("dmidecode", "unshare")
    prefix = machine(name, tmp_path)
    program = find("dmidecode")
    assert program is not None
    said = subprocess.run([*prefix, program, "-t", "17"], capture_output=True, text=True, check=True).stdout
    fields = [fields for _, kind, fields in records(said) if kind == 17]
    found = diagnosed(prefix)
    memory = found["sections"]["memory"]
    assert memory["board"] == "slots"
    assert [slot["size"] for slot in memory["slots"]] == [in_bytes(one["Size"]) or 0 for one in fields]
    assert [slot["slot"] for slot in memory["slots"]] == [one["Locator"] for one in fields]
    assert found["memory"]["line"].startswith(line)


def test_who_is_not_root_is_told_what_needs_it(tmp_path: Path) -> None:
    need("unshare", "setpriv")
    prefix = machine("beelink-eq12-ddr5-dump.bin", tmp_path)
    found = diagnosed((*prefix, *NOBODY))
    memory = found["sections"]["memory"]
    if "slots" not in memory:  # else udev of this very machine left something
        assert "run this as root" in memory["unavailable"]["memory_slots"]
    assert memory["total"] > GIB // 8
