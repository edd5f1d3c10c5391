"""Runs a program of the system and takes what it prints: bounded in time and size, in English, at low priority.

The agent may be root, so no environment chooses what it runs: PATH is the system's own (agent.facts.source). Nor what
root's programs read: HOME is root's, where sudo may have left an account's (rpm would read its .rpmmacros).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence

import msgspec

from agent.facts import source
from agent.facts.programs import windows_folders
from agent.facts.source import Missing, charge, find_program, no_program

MAX_OUTPUT_BYTES = 1024 * 1024
"""smartctl says 60 KiB of a disk at most, the journal of a day's kernel some hundred."""

MAX_LIST_BYTES = 16 * 1024 * 1024
"""20,000 packages of 400 bytes are half of it."""

MAX_FAULT_BYTES = 4096
KEPT = (
    "HOME",
    "USER",
    "LOGNAME",
    "XDG_DATA_HOME",
    "CUPS_SERVER",
    "SystemRoot",
    "ProgramFiles",
    "ProgramData",
    "TEMP",
    "windir",
)
ENGLISH = {"LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "TERM": "dumb"}
"""LANGUAGE is left out: it would win over LC_ALL for messages."""

NICENESS = 10


class Printed(msgspec.Struct, frozen=True):
    """status: as the program ended with; negative for a signal.  output: what it printed, cut where `is_cut`.

    fault: the first line on standard error, or "".
    """

    status: int
    output: bytes
    fault: str = ""
    is_cut: bool = False

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")


def run(
    program: str,
    *words: str,
    deadline_s: float,
    limit: int = MAX_OUTPUT_BYTES,
    environment: Mapping[str, str] | None = None,
) -> Printed:
    """Run it to its end, with nothing to read and no terminal. Raises Missing where it is not there or takes too long.

    limit: bytes of output, after which it is ended.  environment: beyond the least that programs need.
    At its deadline it is killed with what it started. One that hangs in the kernel, on a disk that is dying, cannot be:
    then this waits as well, and whoever asked has left by the deadline of the source.
    """
    path = find_program(program)
    if path is None:
        raise Missing(no_program(program))
    late = threading.Event()
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            [path, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors.fileno(),  # a file: a program that fills a pipe which nobody reads yet would stand still
            env=_environment(environment),
            cwd="/" if os.name == "posix" else None,
            start_new_session=True,
        ) as process:
            _be_nice(process.pid)

            def kill() -> None:
                late.set()
                _end(process)

            timer = threading.Timer(deadline_s, kill)
            timer.daemon = True
            timer.start()
            try:
                assert process.stdout is not None  # because of PIPE
                output = process.stdout.read(limit + 1)
                if len(output) > limit:
                    _end(process)  # whatever else it would say is not read
                status = _ended(process)
            finally:
                timer.cancel()
        errors.seek(0)
        fault = errors.read(MAX_FAULT_BYTES).decode("utf-8", "replace").strip().partition("\n")[0].strip()
    if late.is_set():
        raise Missing(f"{program} did not end within {deadline_s:.0f} s")
    return Printed(status, output[:limit], fault, is_cut=len(output) > limit)


def run_tool(
    argv: Sequence[str],
    *,
    deadline_s: float,
    good: Collection[int] = (0,),
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """All that `argv` prints, of a tool that lists. good: exit statuses that mean an answer.

    Raises Missing: it is not there, does not end in time, prints more than MAX_LIST_BYTES, or ends with another status.
    """
    printed = run(argv[0], *argv[1:], deadline_s=deadline_s, limit=MAX_LIST_BYTES, environment=environment)
    if printed.is_cut:
        raise Missing(f"{argv[0]} prints more than {MAX_LIST_BYTES} bytes")
    if printed.status not in good:
        raise Missing(f"{argv[0]} ended with status {printed.status}: {printed.fault}".rstrip(": "))
    return printed.output


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if os.name == "nt":
        return {**kept, **ENGLISH, "PATH": os.pathsep.join(windows_folders(os.environ)), **(more or {})}
    if source.is_root():
        kept |= {"HOME": os.path.expanduser("~root"), "USER": "root", "LOGNAME": "root"}
        kept.pop("XDG_DATA_HOME", None)
    return {**kept, **ENGLISH, "PATH": source.PATH, **(more or {})}


def _be_nice(pid: int) -> None:
    if hasattr(os, "setpriority"):
        try:
            os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
        except OSError:
            pass  # it has ended already


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit status; what it cost is put on the account of whoever asked."""
    if sys.platform == "win32":
        return int(process.wait())
    _, status, usage = os.wait4(process.pid, 0)
    charge(usage.ru_utime + usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """With what it started: a child that holds the pipe would keep us waiting."""
    try:
        if hasattr(os, "killpg"):
            import signal

            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass
