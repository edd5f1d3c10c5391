"""The README's way from nothing to a shell: its lines as they stand, in one shell, on a machine of a test's own."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.netns import is_possible, namespace

pytestmark = pytest.mark.skipif(not is_possible(), reason="namespaces are not allowed here")

ROOT = Path(__file__).resolve().parents[2]
TYPED = b"echo walked-$((6 * 7)); exit 7\n"
WITHIN_S = 300.0


def walk() -> list[str]:
    """The commands of the README's section."""
    section = (ROOT / "README.md").read_text().split("## From nothing to a shell")[1]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def run_in_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Its status, and what the terminal showed; TYPED is typed again and again, as by somebody without patience."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, start_new_session=True
    )
    os.close(theirs)
    shown, until = b"", time.monotonic() + WITHIN_S
    try:
        while process.poll() is None:
            assert time.monotonic() < until, shown.decode("utf-8", "replace")
            ready, _, _ = select.select([ours], [], [], 1.0)
            if ready:
                try:
                    shown += os.read(ours, 65_536)
                except OSError:  # the last one who held the other end is gone
                    break
            elif b"@" in shown.rpartition(b"\n")[2] or shown.endswith((b"# ", b"$ ")):
                os.write(ours, TYPED)
        return process.wait(WITHIN_S), shown.decode("utf-8", "replace")
    finally:
        # The relay and the agent, which the walk leaves running, are of its process group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        os.close(ours)


def test_the_readme_walks_from_nothing_to_a_shell_in_under_ten_commands(tmp_path: Path) -> None:
    commands = walk()
    assert len(commands) < 10 and commands[-1].startswith("auxilio ssh ")
    script = tmp_path / "walk.sh"
    script.write_text("\n".join(commands) + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AUXILIO_", "SSH_"))}
    environment |= {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "AUXILIO_AGENT_STATE": str(tmp_path / "agent"),
        "AUXILIO_RELAY_DIR": str(tmp_path / "relay"),
        "TERM": "xterm",
    }
    with namespace() as alone:  # where its ports are free, whatever else runs on this machine
        status, shown = run_in_terminal([*alone.prefix, "bash", "-e", str(script)], environment)
    assert status == 7, shown
    assert "walked-42" in shown
