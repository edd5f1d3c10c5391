"""Networks of a test's own: namespaces joined by cables, which end with the processes that hold them.

    with namespaces("device", "modem") as nets:
        nets.cable("device", "10.9.0.2/24", "modem", "10.9.0.1/24")
        nets.run("device", "ip", "route", "add", "default", "via", "10.9.0.1")
        subprocess.Popen([*nets.prefix("modem"), "python3", "-m", "http.server"])

Needs root, or user namespaces; and Debian's iproute2.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

IS_ROOT = os.geteuid() == 0
HOLD = ("sh", "-c", "echo ready && exec sleep infinity")
WITHIN_S = 120.0


def is_possible() -> bool:
    first = ("unshare", "-n") if IS_ROOT else ("unshare", "-rn")
    return subprocess.run([*first, "true"], capture_output=True, check=False).returncode == 0


class Namespaces:
    def __init__(self) -> None:
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._cables = 0

    def prefix(self, name: str) -> tuple[str, ...]:
        """Of a command that is to run in the namespace `name`."""
        user = () if IS_ROOT else ("-U", "--preserve-credentials")
        return ("nsenter", *user, "-n", "-t", str(self._holders[name].pid))

    def run(self, name: str, *command: str) -> str:
        done = subprocess.run(
            [*self.prefix(name), *command], capture_output=True, text=True, check=False, timeout=WITHIN_S
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def add(self, name: str, stack: ExitStack) -> None:
        if IS_ROOT:
            start: Sequence[str] = ("unshare", "-n")
        elif not self._holders:
            start = ("unshare", "-rn")
        else:  # in the user namespace of the first, which may then join their networks
            start = (*self.prefix(next(iter(self._holders))), "unshare", "-n")
        holder = stack.enter_context(subprocess.Popen([*start, *HOLD], stdout=subprocess.PIPE))
        stack.callback(holder.kill)
        assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
        self._holders[name] = holder
        self.run(name, "ip", "link", "set", "lo", "up")

    def cable(self, one: str, address: str, other: str, other_address: str) -> tuple[str, str]:
        """Join two namespaces; addresses with their prefix length. Returns the names of the two interfaces."""
        self._cables += 1
        ends = f"c{self._cables}a", f"c{self._cables}b"
        peer = str(self._holders[other].pid)
        self.run(one, "ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", peer)
        for name, end, own in ((one, ends[0], address), (other, ends[1], other_address)):
            family = ("-6",) if ":" in own else ()
            self.run(name, "ip", *family, "addr", "add", own, "dev", end, *(("nodad",) if family else ()))
            self.run(name, "ip", "link", "set", end, "up")
        return ends


@contextmanager
def namespaces(*names: str) -> Iterator[Namespaces]:
    nets = Namespaces()
    with ExitStack() as stack:
        for name in names:
            nets.add(name, stack)
        yield nets
