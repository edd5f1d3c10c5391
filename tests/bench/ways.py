"""What every way to a device has: command lines for a client, and which processes stand in between."""

from __future__ import annotations

import re
import subprocess
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.bench.processes import WITHIN_S, cpu_s, descendants, settle
from tests.bench.rows import Row
from tests.support.agent_process import wait_until

QUIET_S = 0.2

Parts = dict[str, list[int]]
"""Process ids by the part they play: ssh, proxy, relay, link, session. The names of both sides mean the same:

ssh      what the technician started
proxy    what that started: `auxilio proxy`; the `ssh -W` of ssh -J
relay    everything in between
link     what keeps the device connected: the agent without its children; `ssh -N -R`
session  what serves the session on the device, the command itself included
"""


class Way(Protocol):
    """A technician's way to the device. Command lines are complete, and ask nothing."""

    name: str
    environment: Mapping[str, str]

    def command(self, remote: str, *, terminal: bool = False) -> list[str]:
        """Run `remote` by the account's shell on the device."""
        ...

    def upload(self, source: Path, target: Path) -> list[str]:
        """scp, or what the way has instead."""
        ...

    def download(self, source: Path, target: Path) -> list[str]: ...

    def sftp(self, batch: Path) -> list[str]:
        """OpenSSH's sftp with a file of commands."""
        ...

    def relay(self) -> list[int]:
        """Every process of the relay, now."""
        ...

    def device_side(self) -> list[int]:
        """Every process that the device has while nobody is connected, now."""
        ...

    def is_quiet(self) -> bool:
        """No session is left."""
        ...

    def parts(self, client: int) -> Parts:
        """All processes, now. client: the pid of a `command` that runs."""
        ...


class NotAvailable(Exception):
    """This way cannot do it here; the text says why, and becomes the row's note."""


def standing(way: Way) -> list[int]:
    """Every process but the client's, now."""
    return [*way.relay(), *way.device_side()]


def settled(way: Way) -> None:
    """Wait until no session is left, and nothing of the way is busy: the end of one is not to be in the next."""
    wait_until(way.is_quiet, f"{way.name}: no session is left", WITHIN_S)
    settle(lambda: standing(way), QUIET_S)


def attempt(name: str, measure: Callable[[], list[Row]]) -> list[Row]:
    """Its rows; or one that says why there are none."""
    try:
        return measure()
    except NotAvailable as exc:
        return [Row(name, "", None, None, note=str(exc))]
    except Exception as exc:
        traceback.print_exc()
        return [Row(name, "", None, None, note=f"failed: {type(exc).__name__}: {exc}"[:300])]


def run(way: Way, command: Sequence[str], *, stdin: Any = subprocess.DEVNULL) -> subprocess.CompletedProcess[bytes]:
    """Run a client to its end. Raises NotAvailable with what it said, where it fails."""
    done = subprocess.run(command, stdin=stdin, capture_output=True, env=dict(way.environment), check=False)
    check(way, done.returncode, done.stderr)
    return done


def check(way: Way, status: int | None, said: bytes) -> None:
    if status != 0:
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        why = re.sub(r"\s+", " ", lines[-1] if lines else "no word")[:200]
        raise NotAvailable(f"{way.name}: not available (exit status {status}: {why})")


def start(way: Way, remote: str) -> subprocess.Popen[bytes]:
    """A command on the device, with pipes."""
    pipe = subprocess.PIPE
    environment = dict(way.environment)
    return subprocess.Popen(way.command(remote), stdin=pipe, stdout=pipe, stderr=pipe, env=environment, bufsize=0)


def cpu_of(parts: Parts) -> dict[str, float]:
    """CPU seconds of each part so far."""
    return {part: cpu_s(pids) for part, pids in parts.items()}


def client_parts(client: int) -> Parts:
    return {"ssh": [client], "proxy": descendants(client)}
