"""`auxilio demo`: all of it works, twice, after kill -9, and it ends what it started and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.console_process import ConsoleProcess
from tests.support.effort import LONG

WITHIN_S = 240.0


@pytest.fixture
def console(tmp_path: Path) -> ConsoleProcess:
    return ConsoleProcess(tmp_path / "unused")


def _started_by(folder: Path) -> list[int]:
    """Processes that run on the demo's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word in (str(folder / "relay").encode(), str(folder / "agent").encode()) for word in words):
            found.append(int(entry.name))
    return found


def _works(console: ConsoleProcess, folder: Path) -> dict[str, object]:
    done = console.run("demo", "--once", "--dir", str(folder), within_s=WITHIN_S)
    outcome: dict[str, object] = json.loads(done.stdout)
    assert outcome["ok"] is True
    assert _started_by(folder) == []
    return outcome


def test_the_demo_shows_this_very_machine_and_leaves_nothing_running(console: ConsoleProcess, tmp_path: Path) -> None:
    for _ in range(2 if LONG else 1):
        outcome = _works(console, tmp_path / "demo")
        meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        assert outcome["memory_total_bytes"] == int(meminfo["MemTotal"].split()[0]) * 1024
        listed = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\n"], capture_output=True, text=True, check=True
        )
        installed = [line for line in listed.stdout.splitlines() if line.startswith("ii")]
        assert int(str(outcome["software_packages"])) >= len(installed) - 5  # and programs that dpkg knows nothing of
        uname = subprocess.run(["uname", "-a"], capture_output=True, text=True, check=True).stdout
        assert outcome["console"] == outcome["ssh"] == {"output": uname, "exit_status": 7}
        assert isinstance(outcome["copied_files"], int) and outcome["copied_files"] > 10
        assert outcome["page"] == "<h1>the customer's modem</h1>"
        steps = outcome["steps_ms"]
        assert isinstance(steps, dict)
        assert {
            "authority",
            "relay",
            "technician",
            "join",
            "approve",
            "report",
            "console",
            "ssh",
            "copy",
            "forward",
        } == set(steps)


def test_a_demo_that_was_killed_can_be_run_again_and_its_leftovers_are_ended(
    console: ConsoleProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    command = [*console.command, "demo", "--once", "--dir", str(folder)]
    with subprocess.Popen(
        command, env=console.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as demo:
        deadline = time.monotonic() + WITHIN_S
        while len(_started_by(folder)) < 2 or not (folder / "agent.log").exists():
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        demo.send_signal(signal.SIGKILL)
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        assert _started_by(folder)
        _works(console, folder)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_the_demo_goes_on_running_and_its_commands_work_until_it_is_stopped(
    console: ConsoleProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    try:
        shown = console.run("demo", "--dir", str(folder), within_s=WITHIN_S).stdout.decode()
        assert "memory" in shown
        assert os.uname().nodename in shown
        assert len(_started_by(folder)) >= 2
        commands = [line.split() for line in shown.partition("Go on with:")[2].splitlines() if line.strip()]
        assert [Path(words[0]).name for words in commands] == [
            *3 * ["auxilio"],
            "ssh",
            *2 * ["auxilio-agent"],
            "auxilio",
        ]
        for words in commands[:-1]:  # as they are printed; the last one ends it all
            more = ["echo", "on"] if "ssh" in words else []
            done = subprocess.run(
                [*words, *more], capture_output=True, timeout=WITHIN_S, check=False, stdin=subprocess.DEVNULL
            )
            assert done.returncode == 0 and done.stdout, (words, done.stderr)
            assert not more or done.stdout == b"on\n"
    finally:
        console.run("demo", "--stop", "--dir", str(folder))
    assert _started_by(folder) == []


def test_a_folder_that_is_not_a_demos_is_not_touched(console: ConsoleProcess, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    line, hint = console.fails("demo", "--once", "--dir", str(folder), status=6)
    assert "not a demo" in line
    assert "--dir" in hint
    assert [entry.name for entry in folder.iterdir()] == ["thesis.txt"]


def test_a_step_that_fails_is_named_and_all_is_ended(console: ConsoleProcess, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ssh").write_text("#!/bin/sh\necho broken >&2\nexit 255\n")
    (tools / "ssh").chmod(0o755)
    console.environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    done = console.run("demo", "--once", "--dir", str(tmp_path / "demo"), status=4, within_s=WITHIN_S)
    outcome = json.loads(done.stdout)
    assert outcome["ok"] is False
    assert outcome["failed"].startswith("ssh: ")
    assert outcome["console"]["exit_status"] == 7
    assert b"the demo failed at ssh: " in done.stderr
    assert _started_by(tmp_path / "demo") == []
