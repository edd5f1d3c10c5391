"""The `auxilio` command, as a person or a script runs it: a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

WITHIN_S = 120.0
ROOT = Path(__file__).resolve().parents[2]


class ConsoleProcess:
    """home: the folder of AUXILIO_HOME.  environment: added to ours; ssh-agent is the test's to give.

    prefix: of its commands, such as one that enters a namespace.
    """

    def __init__(self, home: Path, environment: dict[str, str] | None = None, prefix: tuple[str, ...] = ()) -> None:
        self.home = home
        self.prefix = prefix
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AUXILIO_", "SSH_"))},
            "AUXILIO_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
        }

    @property
    def command(self) -> list[str]:
        return [*self.prefix, sys.executable, "-m", "console.main"]

    def run(
        self, *arguments: str, status: int = 0, stdin: str | bytes | None = None, within_s: float = WITHIN_S
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command; fail unless it ends with `status`, and without a traceback."""
        done = subprocess.run(
            [*self.command, *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=self.environment,
            timeout=within_s,
            check=False,
        )
        said = done.stderr.decode("utf-8", "replace")
        assert done.returncode == status, f"auxilio {' '.join(arguments)}: {done.returncode}, not {status}\n{said}"
        assert "Traceback" not in said, said
        return done

    def out(self, *arguments: str, **options: Any) -> str:
        """Standard output of a command that succeeds."""
        return self.run(*arguments, **options).stdout.decode()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.out(*arguments, "--json"))

    def fails(self, *arguments: str, status: int, stdin: str | None = None) -> tuple[str, str]:
        """The line and the hint of a command that ends with `status`."""
        said = self.run(*arguments, status=status, stdin=stdin).stderr.decode()
        lines = said.strip().splitlines()
        own = [line for line in lines if line.startswith("auxilio: ")]
        hints = [line for line in lines if line.startswith("hint: ")]
        assert own, said
        return own[-1].removeprefix("auxilio: "), hints[-1].removeprefix("hint: ") if hints else ""


def make_key(path: Path, *options: str) -> Path:
    """A key by the real ssh-keygen; returns its .pub."""
    command = ["ssh-keygen", "-q", "-N", "", "-C", path.name, "-f", str(path), *(options or ("-t", "ed25519"))]
    subprocess.run(command, check=True, capture_output=True)
    return Path(f"{path}.pub")
