"""What a program of the system prints, where nothing else says it: bounded in time and size, in the C locale."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from agent.facts.source import Missing, charge, find_program

if TYPE_CHECKING:
    import subprocess

MAX_OUTPUT_BYTES = 1024 * 1024
"""smartctl says 60 KiB of a disk at most, the journal of a day's kernel some hundred."""

MAX_FAULT_BYTES = 4096


class Printed(msgspec.Struct, frozen=True):
    """status: as the program ended with; negative for a signal.  output: what it printed, cut at MAX_OUTPUT_BYTES.

    fault: the first line on standard error, or "".
    """

    status: int
    output: bytes
    fault: str = ""

    @property
    def text(self) -> str:
        return self.output.decode("utf-8", "replace")


def run(program: str, *words: str, deadline_s: float) -> Printed:
    """Run it to its end, with nothing to read and no terminal. Raises Missing where it is not there or takes too long.

    It is killed at its deadline. One that hangs in the kernel, on a disk that is dying, cannot be: then this waits as
    well, and whoever asked has left by the deadline of the source.
    """
    import subprocess
    import threading

    path = find_program(program)
    if path is None:
        raise Missing(f"the program {program} is not installed")
    environment = {**os.environ, "LC_ALL": "C", "LANG": "C", "LANGUAGE": "C", "SYSTEMD_COLORS": "0", "TERM": "dumb"}
    with subprocess.Popen(
        [path, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/" if os.name == "posix" else None,
    ) as process:
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(deadline_s, kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None and process.stderr is not None
            output = process.stdout.read(MAX_OUTPUT_BYTES)
            if len(output) == MAX_OUTPUT_BYTES:
                process.kill()  # whatever else it would say is not read
            fault = process.stderr.read(MAX_FAULT_BYTES)
            status = _ended(process)
        finally:
            timer.cancel()
    if late.is_set():
        raise Missing(f"{program} did not end within {deadline_s:.0f} s")
    lines = fault.decode("utf-8", "replace").strip().splitlines()
    return Printed(status, output, lines[0].strip() if lines else "")


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit status; what it cost is put on the account of whoever asked."""
    if sys.platform == "win32":
        return int(process.wait())
    _, status, usage = os.wait4(process.pid, 0)
    charge(usage.ru_utime + usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode
