"""Machines with ids of their own on this one: a mount namespace in which /etc/machine-id is another file.

agent.prefix = machine(folder, "b")       # what it runs from now on runs there
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

needs_machines = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: another /etc/machine-id is mounted")


def machine(folder: Path, name: str) -> tuple[str, ...]:
    """The prefix of a command that runs on the machine called `name`."""
    file = folder / f"machine-id-{name}"
    file.write_text(f"{hashlib.sha256(name.encode()).hexdigest()[:32]}\n")
    return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/machine-id && exec "$@"', str(file))


def copied(state: Path, target: Path) -> Path:
    """A state directory as a cloned disk has it: everything but what a process holds."""
    shutil.copytree(state, target, ignore=shutil.ignore_patterns("*.sock"))
    target.chmod(0o700)
    return target
