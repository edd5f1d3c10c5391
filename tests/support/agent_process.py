"""A real `auxilio-agent` in a state directory of its own: joined, run, killed and run again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.show import read_status
from protocol.errors import AuxilioError

WITHIN_S = 60.0
"""Generous: a busy machine is slow, and no test is meant to measure it."""


def wait_until(condition: Callable[[], Any], what: str, within_s: float = WITHIN_S) -> Any:
    """Return the first true value of `condition`; fail with `what` at the deadline."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(0.05)
    return value


class AgentProcess:
    """One agent. environment: added to ours.  prefix: of its commands, such as one that enters a namespace, or
    makes the host that it runs on: see device_world.named."""

    def __init__(self, state: Path, environment: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> None:
        self.state = state
        self.prefix = prefix
        self.environment = {**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}
        self.run_arguments: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None
        self.output = state.parent / f"{state.name}.output"

    def command(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "agent.main", *arguments, "--state", str(self.state)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            timeout=WITHIN_S * 2,
        )

    def join(self, token: str) -> str:
        """Join, and return the device's id."""
        result = self.command("join", "--json", "-", stdin=token)
        assert result.returncode == 0, result.stderr
        device: str = json.loads(result.stdout)["device"]
        return device

    def run_command(self) -> list[str]:
        """What `start` starts."""
        words = [*self.prefix, sys.executable, "-m", "agent.main", "run", "--verbose", "--state", str(self.state)]
        return [*words, *self.run_arguments]

    def start(self, *prefix: str) -> None:
        """prefix: a command to run it under, such as strace."""
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                [*prefix, *self.run_command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def status(self) -> dict[str, Any]:
        result = self.command("status", "--json")
        assert result.returncode == 0, result.stderr
        status: dict[str, Any] = json.loads(result.stdout)
        return status

    def journal(self, event: str | None = None) -> list[dict[str, Any]]:
        result = self.command("log", "--json", "-n", "0")
        assert result.returncode == 0, result.stderr
        entries = [json.loads(line) for line in result.stdout.splitlines()]
        return [entry for entry in entries if event is None or entry["event"] == event]

    def wait_status(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        status: dict[str, Any] = {}

        def check() -> dict[str, Any] | None:
            nonlocal status
            try:
                status = read_status(self.state)  # what the command does, without a process for each look
            except AuxilioError:
                return None
            return status if condition(status) else None

        try:
            found: dict[str, Any] = wait_until(check, what)
        except AssertionError as exc:
            log = self.state / "journal.jsonl"
            noted = log.read_text("utf-8", "replace")[-4000:] if log.exists() else ""
            raise AssertionError(
                f"{exc}; its status: {status}\nthe agent said: {self.said()[-2000:]}\nand noted: {noted}"
            ) from exc
        return found

    def wait_linked(self) -> None:
        self.wait_status(lambda s: s.get("linked"), "the agent is linked")

    def wait_reported(self) -> None:
        """Linked, and nothing waits of what was ever reported: the first look takes its time."""
        self.wait_status(
            lambda s: s.get("linked") and s["spool"]["reports"] == 0 and self._has_reported(), "everything is reported"
        )

    def _has_reported(self) -> bool:
        uri = f"file:{self.state / 'spool.sqlite'}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
                return bool(db.execute("SELECT value FROM state WHERE name = 'last_number'").fetchone())
        except sqlite3.OperationalError:
            return False

    def said(self) -> str:
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
            self.process.wait(WITHIN_S)
        self.process = None
