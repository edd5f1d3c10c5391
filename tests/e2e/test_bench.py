"""`make bench` in small: its rows come out, from real processes, so that it does not rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


def test_the_bench_measures_every_row_beside_openssh_and_leaves_nothing_behind(folder: Path) -> None:
    output = folder / "bench.json"
    settings = {f"AUXILIO_BENCH_{name}": value for name, value in SMALL.items()}
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
    assert {name for name, row in rows.items() if row["aim"]} == WITH_AIMS | ALONE
    for name in WITH_AIMS:
        row = rows[name]
        assert row["ours"] > 0 and row["peer"] > 0, row
        assert row["ratio"] == float(f"{row['ours'] / row['peer']:.3g}")
        assert row["met"] is not None
        assert name in done.stdout
    for name in ALONE:
        assert rows[name]["ours"] >= 0 and rows[name]["met"] is not None and name in done.stdout, rows[name]
    machine = json.loads((folder / "bench-machine.json").read_text())
    assert {"cores", "kernel", "openssh", "ssh_cipher", "measurements"} <= machine.keys()
    assert {path.name for path in folder.iterdir()} == {"bench.json", "bench-machine.json"}
