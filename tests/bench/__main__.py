"""`make bench`: how long a session takes to open and how fast it is, beside OpenSSH in the same run.

The peer is OpenSSH's own client and a real sshd on loopback, without any relay in between: the shortest way there is.
Ours goes console -> relay -> agent, all on this machine. So the ratios say what the relay, the checks of every
signature and a process a session cost, on top of SSH. Prints a table; writes var/bench.json.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.agent_process import wait_until
from tests.support.world import World

ROUNDS = int(os.environ.get("AUXILIO_BENCH_ROUNDS", "5"))
BULK_MIB = int(os.environ.get("AUXILIO_BENCH_MIB", "128"))
OUTPUT = Path("var/bench.json")


class Sshd:
    """A real sshd on loopback, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("host", "user"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
        self.port = _free_port()
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nPermitRootLogin yes\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
        )

    def command(self, *command: str) -> list[str]:
        options = ["-F", "none", "-i", str(self.folder / "user"), "-p", str(self.port), "-o", "BatchMode=yes"]
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        options += ["-c", "aes128-gcm@openssh.com"]
        return ["ssh", *options, "127.0.0.1", *command]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(command: list[str], environment: dict[str, str], **files: object) -> float:
    """Seconds that `command` took; it must succeed."""
    started = time.perf_counter()
    files.setdefault("stdin", subprocess.DEVNULL)
    files.setdefault("stdout", subprocess.DEVNULL)
    subprocess.run(command, check=True, env=environment, stderr=subprocess.PIPE, **files)  # type: ignore[call-overload]
    return time.perf_counter() - started


def median(measure: Callable[[], float]) -> float:
    measure()  # a warm-up that does not count
    return statistics.median(measure() for _ in range(ROUNDS))


def measure_all(ways: dict[str, Callable[..., list[str]]], environment: dict[str, str]) -> dict[str, dict[str, float]]:
    """Each row: way -> value. Seconds for opening, MiB/s for bulk."""
    rows: dict[str, dict[str, float]] = {"open and run `true`, s": {}, "device to console, MiB/s": {}}
    rows["console to device, MiB/s"] = {}
    with tempfile.NamedTemporaryFile() as bulk:
        for _ in range(BULK_MIB):
            bulk.write(os.urandom(1024 * 1024))
        bulk.flush()
        for name, way in ways.items():
            rows["open and run `true`, s"][name] = median(lambda way=way: run(way("true"), environment))  # type: ignore[misc]
            down = median(lambda way=way: run(way(f"cat {bulk.name}"), environment))  # type: ignore[misc]
            up = median(lambda way=way: _upload(way("cat >/dev/null"), bulk.name, environment))  # type: ignore[misc]
            opening = rows["open and run `true`, s"][name]
            rows["device to console, MiB/s"][name] = BULK_MIB / max(0.001, down - opening)
            rows["console to device, MiB/s"][name] = BULK_MIB / max(0.001, up - opening)
    return rows


def _upload(command: list[str], path: str, environment: dict[str, str]) -> float:
    with open(path, "rb") as file:
        return run(command, environment, stdin=file)


def main() -> int:
    world = World.begin("lab")
    sshd = Sshd(world.folder)
    try:
        wait_until(lambda: _answers(sshd), "sshd answers")
        ways = {
            "ssh to sshd": sshd.command,
            "ssh through auxilio": lambda *c: world.stock_ssh(world.host, *c),
            "auxilio ssh": lambda *c: world.auxilio("ssh", world.device, "--", *c),
        }
        rows = measure_all(ways, world.environment)
    finally:
        sshd.end()
        world.end()
    peer = "ssh to sshd"
    print(f"{'':28}" + "".join(f"{name:>24}" for name in ways))
    for row, values in rows.items():
        cells = [f"{value:.3g} (x{value / values[peer]:.2f})" for value in values.values()]
        print(f"{row:28}" + "".join(f"{cell:>24}" for cell in cells))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps({"rounds": ROUNDS, "bulk_mib": BULK_MIB, "rows": rows}, indent=2) + "\n")
    return 0


def _answers(sshd: Sshd) -> bool:
    return subprocess.run(sshd.command("true"), capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
