"""A disk of a few KiB that a test fills, frees and turns read-only: a tmpfs in a mount namespace of its own.

    with small_disk(size_kib=512) as disk:
        disk.run("auxilio-agent", ...)       # a command that sees it at disk.path
        disk.fill(leave=4096); disk.free(); disk.read_only(True)

The namespace ends with the process that holds it, however the test ends. Needs root, or user namespaces.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.agent_process import wait_until

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
UNSHARE = ("unshare", "-m") if IS_ROOT else ("unshare", "-rm")
ENTER = ("nsenter", "-m") if IS_ROOT else ("nsenter", "-U", "--preserve-credentials", "-m")
WITHIN_S = 120.0


def is_possible() -> bool:
    return subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0


class SmallDisk:
    """path: where processes of the namespace see it.  outside: the same for this process."""

    def __init__(self, path: Path, holder: subprocess.Popen[bytes]) -> None:
        self.path = path
        self.outside = Path(f"/proc/{holder.pid}/root{path}")
        self._holder = holder

    @property
    def prefix(self) -> tuple[str, ...]:
        """Of a command that is to see the disk."""
        return (*ENTER, "-t", str(self._holder.pid), f"--wd={os.getcwd()}")

    def run(self, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """text: of standard input."""
        return subprocess.run(
            [*self.prefix, *command],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )

    def _must(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def free_bytes(self) -> int:
        stat = os.statvfs(self.outside)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all but `leave` bytes."""
        self.free()
        size = max(0, self.free_bytes() - leave)
        self._must("sh", "-c", f'head -c {size} /dev/zero > "$0"', str(self.path / "filler"))

    def free(self) -> None:
        self._must("rm", "-f", str(self.path / "filler"))

    def read_only(self, wanted: bool) -> None:
        self._must("mount", "-o", f"remount,{'ro' if wanted else 'rw'}", str(self.path))


@contextmanager
def small_disk(size_kib: int) -> Iterator[SmallDisk]:
    with tempfile.TemporaryDirectory(prefix="auxilio-disk-") as folder:
        script = f'mount -t tmpfs -o size={size_kib}k,mode=0755 none "$0" && echo ready && exec sleep infinity'
        with subprocess.Popen([*UNSHARE, "sh", "-c", script, folder], stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"ready\n"
                disk = SmallDisk(Path(folder), holder)
                wait_until(lambda: disk.run("true").returncode == 0, "the namespace can be entered")
                yield disk
            finally:
                holder.kill()
