"""The whole system as its users have it: a relay, an authority and a console home, a device, all by their commands.

relay process  <--- TLS, loopback --->  agent process (state directory of its own)
      ^
      +----- `auxilio` commands with AUXILIO_HOME, and stock ssh with `auxilio ssh-config`'s include
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.agent_process import WITHIN_S, AgentProcess, wait_until
from tests.support.relay_process import ROOT, RelayProcess
from tests.support.session_world import session_children, started_by

RIGHTS = "view,shell,files,forward,run,approve"


class World:
    """Made by `begin`, ended by `end`. device: the id of its one approved device, tagged lab (unattended)."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="auxilio-world-"))
        self.relay = RelayProcess(self.folder / "relay")
        self.agent = AgentProcess(self.folder / "agent")
        self.device = ""
        self.organisation = ""

    @classmethod
    def begin(cls, *tags: str, turned: bool = False) -> World:
        """tags: of the device; `lab` is unattended.  turned: its relay attacks, as the file `attack` says; see
        tests.support.turned_relay."""
        world = cls()
        if turned:
            world.attack.write_text("")
            environment = {"ATTACK": str(world.attack)}
            world.relay = RelayProcess(world.folder / "relay", module="tests.support.turned_relay", env=environment)
        try:
            asyncio.run(world._start_relay())
            world._make_organisation()
            world._make_device(world.agent, tags or ("lab",))
        except BaseException:
            world.end()
            raise
        return world

    @property
    def attack(self) -> Path:
        return self.folder / "attack"

    async def _start_relay(self) -> None:
        await self.relay.init()
        await self.relay.start()

    def _make_organisation(self) -> None:
        begun = self.console_json(
            "authority", "init", "--relay", self.relay.url, "--pin", self.relay.pin, "--unattended", "tag:lab",
            "--no-passphrase", "--json",
        )  # fmt: skip
        self.organisation = begun["organisation"]
        asyncio.run(self.relay.add_organisation(self.organisation))
        self.console("policy", "publish")
        self.technician("ana")
        self.console("login", self.relay.url, "--key", str(self.folder / "ana"))

    def _make_device(self, agent: AgentProcess, tags: Sequence[str]) -> None:
        options = [word for tag in tags for word in ("--tag", tag)]
        token = self.console_json("join-token", "create", *options, "--json")["join_token"]
        self.device = agent.join(token)
        agent.start()
        agent.wait_linked()
        self.console("device", "approve", self.device, "--yes")
        agent.wait_status(lambda s: not s["provisional"], "the device has its record")

    def end(self) -> None:
        try:
            self.agent.stop()
        finally:
            asyncio.run(self.relay.stop())
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- people -----------------------------------------------------------------------------------------------------

    def technician(
        self, name: str, *, may: str = RIGHTS, scope: str = "all", account: str = "admin", valid: str = "7d"
    ) -> Path:
        """Make a key, have it certified, and return the key's file."""
        key = self.folder / name
        if not key.exists():
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)]
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
        self.console(
            "technician", "add", name, "--key", f"{key}.pub", "--may", may, "--scope", scope, "--as", account,
            "--valid", valid,
        )  # fmt: skip
        return key

    def login(self, name: str) -> World:
        """A console of another technician's own, logged in: a world that shares everything but the home."""
        other = World.__new__(World)
        other.__dict__.update(self.__dict__)
        other.home_name = f"home-{name}"
        other.console(
            "login", self.relay.url, "--pin", self.relay.pin, "--organisation", self.organisation,
            "--key", str(self.folder / name),
        )  # fmt: skip
        return other

    home_name = "home"

    # -- commands ---------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "AUXILIO_HOME": str(self.folder / self.home_name),
            "PYTHONPATH": str(ROOT),
            "LC_ALL": "C.UTF-8",
            "SSH_AUTH_SOCK": "",
        }

    @staticmethod
    def auxilio(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "console.main", *arguments]

    def run(
        self, command: Sequence[str], *, stdin: bytes | None = None, within_s: float = 2 * WITHIN_S
    ) -> subprocess.CompletedProcess[bytes]:
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            command, capture_output=True, check=False, timeout=within_s, env=self.environment, **given
        )

    def console(self, *arguments: str, status: int = 0, stdin: bytes | None = None) -> str:
        """Run `auxilio ...`; return its output, or where another status than 0 is due, its errors."""
        done = self.run(self.auxilio(*arguments), stdin=stdin)
        said = done.stderr.decode("utf-8", "replace")
        assert done.returncode == status, f"auxilio {' '.join(arguments)}: {done.returncode}: {said}"
        assert "Traceback" not in said
        return done.stdout.decode("utf-8", "replace") if status == 0 else said

    def bearer(self) -> str:
        """The token that the console keeps of its login."""
        found: list[str] = []
        for path in (self.folder / self.home_name).rglob("*.json"):
            found += re.findall(r'"bearer": ?"([A-Za-z0-9_-]{30,})"', path.read_text("utf-8", "replace"))
        assert found, "the console keeps no token"
        return found[-1]

    def console_json(self, *arguments: str) -> Any:
        return json.loads(self.console(*arguments))

    def ssh_config(self) -> Path:
        """The include that `auxilio ssh-config` writes, as a file for `ssh -F`."""
        path = self.folder / self.home_name / "ssh_config"
        if not path.exists():
            self.console("ssh-config")
        return path

    def stock_ssh(self, *arguments: str) -> list[str]:
        """A command line of the real OpenSSH client; it may ask nothing."""
        return ["ssh", "-F", str(self.ssh_config()), "-o", "BatchMode=yes", *arguments]

    @property
    def host(self) -> str:
        return f"{self.device}.auxilio"

    # -- what the device says ---------------------------------------------------------------------------------------

    def wait_journal(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The device's log entries of a kind, once there are `count` of them."""
        entries: list[dict[str, Any]] = wait_until(
            lambda: found if len(found := self.agent.journal(event)) >= count else None,
            f"{count} {event} in the device's log",
        )
        return entries

    def session_children(self) -> list[int]:
        """Processes of sessions that still are: those that speak SSH, and what they were started for."""
        return [*session_children(self.agent.pid), *started_by(self.agent.pid)]
