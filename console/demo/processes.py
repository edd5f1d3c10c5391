"""What the demo starts, and how it ends it: also what an earlier run left behind when it was killed.

Every process gets a mark of its run in its environment. Only what bears the mark is ever ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from protocol.errors import Unavailable

MARK_VARIABLE = "AUXILIO_DEMO_RUN"

END_WITHIN_S = 15.0
"""For a relay that says goodbye to its agents, and an agent that ends its sessions; then they are killed."""

POLL_S = 0.05

_SOURCE = Path(__file__).resolve().parents[2]

T = TypeVar("T")


class Processes:
    """mark: of this run, drawn at random.  logs: the folder for each one's output."""

    def __init__(self, mark: str, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        path = os.environ.get("PYTHONPATH")
        self.environment = {
            **os.environ,
            MARK_VARIABLE: mark,
            "PYTHONPATH": str(_SOURCE) + (os.pathsep + path if path else ""),
        }

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start `python -m module` in the background, apart from our terminal."""
        with open(self.log(name), "ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                cwd=self._logs,
                start_new_session=True,
            )

    def run(self, module: str, *arguments: str, stdin: str | None = None) -> str:
        """Run `python -m module` to its end; its standard output. Raises Unavailable with what it said on failure."""
        done = self.attempt([sys.executable, "-m", module, *arguments], stdin=stdin)
        if done.returncode != 0:
            said = [line for line in done.stderr.strip().splitlines() if line.strip()]
            raise Unavailable(
                f"{module} {arguments[0]}: {said[0] if said else f'exit status {done.returncode}'}",
                code="demo_step_failed",
                hint=" ".join(said[1:3]),
            )
        return done.stdout

    def attempt(self, command: Sequence[str], *, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its status."""
        return subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=self.environment,
            cwd=self._logs,
            timeout=120,
            check=False,
        )

    def wait_for(self, what: str, within_s: float, ready: Callable[[], T | None]) -> T:
        """Ask `ready` until it returns something. Raises Unavailable if a process of ours ended, or in the end."""
        deadline = time.monotonic() + within_s
        while (found := ready()) is None:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise Unavailable(
                        f"{name} ended with status {process.returncode} while we waited: {what}",
                        code="demo_step_failed",
                        hint=f"{self.log(name)} says why.",
                    )
            if time.monotonic() > deadline:
                logs = " and ".join(str(self.log(name)) for name in self._running)
                raise Unavailable(f"not within {within_s:.0f} s: {what}", code="demo_step_failed", hint=f"See {logs}.")
            time.sleep(POLL_S)
        return found

    def end(self, name: str) -> None:
        process = self._running.pop(name)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def end_all(self) -> None:
        """End what this run started, newest first."""
        for name in reversed(list(self._running)):
            self.end(name)


def end_marked(mark: str) -> int:
    """End what an earlier run with `mark` started and left; how many there were."""
    pids = list(_marked(mark))
    for number, within_s in ((signal.SIGTERM, END_WITHIN_S), (signal.SIGKILL, END_WITHIN_S)):
        left = [pid for pid in pids if pid in set(_marked(mark))]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + within_s
        while left and set(left) & set(_marked(mark)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    return len(pids)


def _marked(mark: str) -> Iterator[int]:
    """Processes that bear `mark`, but not ourselves and what is above us. None where there is no /proc."""
    needle = f"{MARK_VARIABLE}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid in (os.getpid(), os.getppid()):
            continue
        with contextlib.suppress(OSError):
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                yield pid
