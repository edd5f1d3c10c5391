"""Our side: a real relay and agent, and two clients: stock ssh through `auxilio proxy`, and `auxilio` itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.bench.openssh import CIPHER
from tests.bench.processes import descendants, tree
from tests.bench.ways import Parts, client_parts
from tests.support.world import World


class Stock:
    """The OpenSSH client with the configuration that `auxilio ssh-config` writes."""

    name = "stock ssh"
    OPTIONS = ("-o", "BatchMode=yes", "-o", f"Ciphers={CIPHER}", "-o", "IgnoreUnknown=ObscureKeystrokeTiming",
               "-o", "ObscureKeystrokeTiming=no")  # fmt: skip

    def __init__(self, world: World) -> None:
        self.world = world
        self.environment: Mapping[str, str] = world.environment

    def _ssh(self, program: str) -> list[str]:
        return [program, "-F", str(self.world.ssh_config()), *self.OPTIONS]

    def command(self, remote: str, *, terminal: bool = False) -> list[str]:
        return [*self._ssh("ssh"), *(["-tt"] if terminal else []), self.world.host, remote]

    def upload(self, source: Path, target: Path) -> list[str]:
        return [*self._ssh("scp"), "-q", str(source), f"{self.world.host}:{target}"]

    def download(self, source: Path, target: Path) -> list[str]:
        return [*self._ssh("scp"), "-q", f"{self.world.host}:{source}", str(target)]

    def sftp(self, batch: Path) -> list[str]:
        return [*self._ssh("sftp"), "-q", "-b", str(batch), self.world.host]

    def relay(self) -> list[int]:
        return tree([self.world.relay.pid])

    def device_side(self) -> list[int]:
        """The agent, and whatever it started."""
        return tree([self.world.agent.pid])

    def is_quiet(self) -> bool:
        return not self.world.session_children()

    def parts(self, client: int) -> Parts:
        agent = self.world.agent.pid
        return {**client_parts(client), "relay": self.relay(), "link": [agent], "session": descendants(agent)}


class Own(Stock):
    """`auxilio ssh` and `auxilio cp`."""

    name = "auxilio"

    def command(self, remote: str, *, terminal: bool = False) -> list[str]:
        options = ["-t"] if terminal else []
        return self.world.auxilio("ssh", *options, self.world.device, "--", remote)

    def upload(self, source: Path, target: Path) -> list[str]:
        return self.world.auxilio("cp", str(source), f"{self.world.device}:{target}")

    def download(self, source: Path, target: Path) -> list[str]:
        return self.world.auxilio("cp", f"{self.world.device}:{source}", str(target))
