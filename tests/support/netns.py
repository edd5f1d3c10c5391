"""Network namespaces that a test makes: networks of its own, which end with the process that holds them.

    with namespace() as here, namespace(here) as there:
        here.ip(f"link add a type veth peer name b netns {there.pid}")
        subprocess.run([*there.prefix, "ping", ...])

Needs root, or user namespaces; without root, `there` has to be made from `here`, so that one may touch the other.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.daemons import find

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
UNSHARE = ("unshare", "-n") if IS_ROOT else ("unshare", "-rn")
WITHIN_S = 120.0
ENTER = ("nsenter", "-n") if IS_ROOT else ("nsenter", "-U", "--preserve-credentials", "-n")


def is_possible() -> bool:
    return (
        find("ip") is not None and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    )


class Namespace:
    """pid: of its holder.  prefix: of a command that is to run in it."""

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self.pid = holder.pid
        self.prefix = (*ENTER, "-t", str(holder.pid))

    def ip(self, *commands: str) -> None:
        """Each a command of ip(8), in this order and as fast as can be."""
        batch = "\n".join(commands) + "\n"
        done = subprocess.run(
            [*self.prefix, find("ip") or "ip", "-batch", "-"], input=batch.encode(), capture_output=True, check=False
        )
        assert done.returncode == 0, f"ip {commands}: {done.stderr.decode()}"

    def run(self, *command: str) -> str:
        done = subprocess.run([*self.prefix, *command], capture_output=True, text=True, check=False, timeout=WITHIN_S)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


@contextmanager
def namespace(within: Namespace | None = None) -> Iterator[Namespace]:
    """One with its loopback up. within: of whose owner it is to be."""
    make = UNSHARE if within is None else (*within.prefix, "unshare", "-n")
    # It ends with its standard input, so at the latest with us.
    holder = subprocess.Popen([*make, "sh", "-c", "echo made; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"made\n", "no namespace could be made"
        made = Namespace(holder)
        made.ip("link set lo up")
        yield made
    finally:
        holder.stdin.close()
        holder.wait(30)
        holder.stdout.close()
