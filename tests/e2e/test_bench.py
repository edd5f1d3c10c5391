"""`make bench` in small: its rows come out, from real processes, so that it does not rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.effort import LONG
from tests.support.relay_process import ROOT

PARTS = ["idle", "reports", "opening", "keys", "bulk", "devices", *(["copies"] if LONG else [])]
COPIES = {f"copy {direction}, {tool}" for direction in ("down", "up") for tool in ("scp", "sftp", "auxilio cp")}
KEYS = {"name", "unit", "ours", "peer", "ratio", "aim", "met"}
SMALL = {
    "ROUNDS": "1",
    "OPENS": "1",
    "MIB": "1",
    "KEYS": "20",
    "LINKS": "8",
    "PEER_LINKS": "1",
    "IDLE_S": "1",
    "QUIET_S": "1",
    "ONLY": " ".join(PARTS),
}
WITH_AIMS = {
    "cold open",
    "keystroke p50",
    "keystroke p99",
    "bulk down",
    "bulk up",
    "relay CPU per GiB down",
    "relay CPU per GiB up",
    "relay, per device: PSS",
    "relay, per device: CPU to link",
    *(COPIES if LONG else ()),
}
ALONE = {
    "reports: full, in a new process, CPU",
    "reports: unchanged, CPU",
    "reports: unchanged, bytes",
    "reports: idle, CPU per hour",
}
"""With an aim, and beside nobody."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name: the agent's socket is below it, and paths of sockets are (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="bench-") as made:
        yield Path(made)


def measured(folder: Path, small: dict[str, str]) -> tuple[dict[str, dict[str, Any]], str]:
    """The rows of a run by name, and the table."""
    output = folder / "bench.json"
    settings = {f"AUXILIO_BENCH_{name}": value for name, value in small.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench"],
        cwd=ROOT,
        env={**os.environ, **settings, "AUXILIO_BENCH_OUTPUT": str(output), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    rows = {row["name"]: row for row in json.loads(output.read_text())}
    assert all(row.keys() >= KEYS for row in rows.values())
    return rows, done.stdout


def test_the_bench_measures_every_row_beside_openssh_and_leaves_nothing_behind(folder: Path) -> None:
    rows, shown = measured(folder, SMALL)
    assert {name for name, row in rows.items() if row["aim"]} == WITH_AIMS | ALONE
    for name in WITH_AIMS:
        row = rows[name]
        assert row["ours"] > 0 and row["peer"] > 0, row
        assert row["ratio"] == float(f"{row['ours'] / row['peer']:.3g}")
        assert row["met"] is not None
        assert name in shown
    for name in ALONE:
        assert rows[name]["ours"] >= 0 and rows[name]["met"] is not None and name in shown, rows[name]
    machine = json.loads((folder / "bench-machine.json").read_text())
    assert {"cores", "kernel", "openssh", "ssh_cipher", "measurements"} <= machine.keys()
    assert {path.name for path in folder.iterdir()} == {"bench.json", "bench-machine.json"}


def test_inventories_are_measured_and_every_question_finds_the_same_devices(folder: Path) -> None:
    small = {"ONLY": "inventory asked", "INVENTORY_DEVICES": "6", "INVENTORY_PACKAGES": "60"}
    small |= {"ASKED_DEVICES": "40", "ASKED_PACKAGES": "60"}
    rows, _ = measured(folder, small)
    phases = [f"inventory, {what}" for what in ("new", "unchanged", "ten packages differ")]
    assert all(rows[f"{phase}: devices per second"]["ours"] > 0 for phase in phases)
    assert rows["inventory: database"]["ours"] > 0
    asked = {name: row["total"] for name, row in rows.items() if row["aim"]}
    filled = {name: total for name, total in asked.items() if name.startswith("asked: ")}
    assert filled["asked: devices with a package that all have"] == 40
    assert filled["asked: who has openssl<3.0.14, by version"] == filled["asked: the same, with 100 devices"]
    assert len(asked) == len(filled) + 5 == 10
    who = asked["inventory: who has openssl<3.0.14, by version"]
    assert who == asked["inventory: the same, with 100 devices"]
    assert who == asked["inventory: devices with software:openssl<3.0.14"]
    assert who == 6 - asked["inventory: devices with not software:openssl<3.0.14"]
