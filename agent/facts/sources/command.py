"""Runs a tool of the system and takes what it prints: bounded in time and size, in English, at low priority."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence

from agent.facts.source import Missing, spent_in_children

MAX_OUTPUT_BYTES = 16 * 1024 * 1024
"""20,000 packages of 400 bytes are half of it."""

PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin"
"""Where the system's own tools are: the agent may be root, and no environment chooses what root runs."""

KEPT = ("HOME", "USER", "LOGNAME", "XDG_DATA_HOME", "SystemRoot", "ProgramFiles", "ProgramData", "TEMP", "windir")
NICENESS = 10


def find_tool(name: str) -> str | None:
    return shutil.which(name, path=None if os.name == "nt" else PATH)


def run_tool(
    argv: Sequence[str],
    *,
    deadline_s: float,
    good: Collection[int] = (0,),
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """What `argv` prints on its standard output.

    good: exit statuses that mean an answer.  environment: beyond the least that tools need.
    Raises Missing: it is not there, does not end in time, prints too much, or ends with another status.
    """
    program = find_tool(argv[0])
    if program is None:
        raise Missing(f"there is no {argv[0]}")
    before = os.times()
    with tempfile.TemporaryFile() as errors:
        output, status, late = _run([program, *argv[1:]], errors.fileno(), deadline_s, dict(environment or {}))
        errors.seek(0)
        said = errors.read(400).decode("utf-8", "replace").strip()
    after = os.times()
    spent_in_children(after.children_user + after.children_system - before.children_user - before.children_system)
    if late:
        raise Missing(f"{argv[0]} did not end within {deadline_s:.0f} s")
    if len(output) > MAX_OUTPUT_BYTES:
        raise Missing(f"{argv[0]} prints more than {MAX_OUTPUT_BYTES} bytes")
    if status not in good:
        raise Missing(f"{argv[0]} ended with status {status}: {said}".rstrip(": "))
    return output


def _run(argv: list[str], errors: int, deadline_s: float, environment: dict[str, str]) -> tuple[bytes, int, bool]:
    """Output, one byte more than allowed at most; exit status; whether it had to be ended."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    # LANGUAGE is left out: it would win over LC_ALL for messages.
    env = {**kept, "LC_ALL": "C.UTF-8", "PATH": os.environ.get("PATH", "") if os.name == "nt" else PATH, **environment}
    late = threading.Event()
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=env, start_new_session=True
    ) as process:
        if hasattr(os, "setpriority"):
            try:
                os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
            except OSError:
                pass  # it has ended already

        def end() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(deadline_s, end)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None  # because of PIPE
            output = process.stdout.read(MAX_OUTPUT_BYTES + 1)
            if len(output) > MAX_OUTPUT_BYTES:
                _end(process)
            status = process.wait()
        finally:
            timer.cancel()
    return output, status, late.is_set()


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
