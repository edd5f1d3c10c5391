"""A relay, an admin and technicians at real consoles, and real agents: everything made by the commands themselves.

with ConsoleWorld(folder) as world:
    world.admin.run("devices"); agent = world.agent("clinic")
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.agent_process import AgentProcess
from tests.support.console_process import ConsoleProcess, make_key
from tests.support.relay_process import RelayProcess

WITHIN_S = 60.0


class ConsoleWorld:
    """admin: logged in as "ada" with every right, and holds the authority. The tag of devices not asked is `free`.

    relay: another than the usual one; by all its names it is in the policy.  environment: added to everybody's.
    prefix: of everybody's commands, such as one that enters a namespace.  people: False leaves the admin not logged in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        relay: RelayProcess | None = None,
        environment: dict[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        people: bool = True,
    ) -> None:
        self._people = people
        self.folder = folder
        folder.chmod(0o755)  # stock ssh and session children look into parts of it
        self.relay = relay or RelayProcess(folder / "relay", prefix=prefix)
        self.environment = environment or {}
        self.prefix = prefix
        self.admin = self.console("admin")
        self.agents: list[AgentProcess] = []
        self.organisation = ""

    def __enter__(self) -> Self:
        self.relay.folder.mkdir(exist_ok=True)
        asyncio.run(self.relay.init())
        asyncio.run(self.relay.start())
        named = [word for name in self.relay.names for word in ("--relay", f"https://{name}", "--pin", self.relay.pin)]
        made = self.admin.json("authority", "init", "--no-passphrase", *named, "--unattended", "tag:free")
        self.organisation = made["organisation"]
        asyncio.run(self.relay.add_organisation(self.organisation))
        self.admin.run("policy", "publish")
        if self._people:
            self.technician("ada", console=self.admin, may="view,shell,files,forward,run,approve")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for agent in self.agents:
            agent.stop()
        asyncio.run(self.relay.stop())
        shutil.rmtree(self.folder, ignore_errors=True)

    def console(self, name: str) -> ConsoleProcess:
        """A console with a home of its own, which knows nothing yet."""
        return ConsoleProcess(self.folder / name, self.environment, self.prefix)

    def technician(
        self,
        name: str,
        *,
        may: str = "shell",
        scope: str = "all",
        account: str = "admin",
        valid: str = "7d",
        console: ConsoleProcess | None = None,
        key_options: tuple[str, ...] = (),
    ) -> ConsoleProcess:
        """A technician with a key, a certificate and a console of their own, logged in."""
        console = console or self.console(f"home-{name}")
        public = make_key(self.folder / f"key-{name}", *key_options)
        self.admin.run(
            *("technician", "add", name, "--key", str(public), "--may", may, "--scope", scope),
            *("--as", account, "--valid", valid),
        )
        console.run(
            *("login", self.relay.url, "--pin", self.relay.pin, "--organisation", self.organisation),
            *("--key", str(public).removesuffix(".pub")),
        )
        return console

    def agent(self, *tags: str, name: str = "") -> tuple[AgentProcess, str]:
        """An agent that runs and is linked, and its id. With tags it is approved; without it stays provisional."""
        state = self.folder / (name or f"agent-{len(self.agents)}")
        agent = AgentProcess(state, self.environment, self.prefix)
        self.agents.append(agent)
        suggested = [word for tag in tags for word in ("--tag", tag)]
        device = agent.join(self.admin.json("join-token", "create", *suggested)["join_token"])
        agent.start()
        self.until(lambda: self.listed(device)["online"], f"{device} is online")
        if tags:
            self.admin.run("device", "approve", device, "--yes")
            agent.wait_status(lambda status: not status["provisional"], "the agent has its record")
        return agent, device

    def listed(self, device: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.admin.json("devices", f"id:{device}")
        return found[0] if found else {"online": False}

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + WITHIN_S
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {WITHIN_S:g} s: {what}\n{self.relay.log[-3000:]}"
            time.sleep(0.1)
        return found

    def copy_admin(self, name: str) -> ConsoleProcess:
        """Another admin with the same keys, as they are now."""
        shutil.copytree(self.admin.home, self.folder / name)
        os.chmod(self.folder / name, 0o700)
        return self.console(name)
