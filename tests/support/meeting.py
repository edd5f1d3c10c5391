"""A real agent that has joined at a false relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from protocol.ids import DeviceId
from protocol.link import Ping, Pong
from tests.support.agent_process import AgentProcess
from tests.support.false_relay import FalseLink, FalseRelay
from tests.support.organisation import UNATTENDED


class Meeting:
    """An agent that joined at a false relay, and its link."""

    def __init__(self, relay: FalseRelay, agent: AgentProcess, device: DeviceId) -> None:
        self.relay, self.agent, self.device = relay, agent, device

    async def link(self, **welcome: Any) -> FalseLink:
        link = await self.relay.next_link()
        await link.welcome(**welcome)
        return link

    async def status(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.agent.status)

    async def until(self, condition: Any, what: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.agent.wait_status, condition, what)

    async def journal(self, event: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.agent.journal, event)

    async def is_well(self, link: FalseLink) -> None:
        """The link still carries a question and its answer."""
        await link.send(Ping(id=4711))
        while (await link.next(Pong)).id != 4711:
            pass


@asynccontextmanager
async def meeting_in(folder: Path) -> AsyncIterator[Meeting]:
    agent = AgentProcess(folder / "agent")
    async with FalseRelay(consent=UNATTENDED) as relay:
        device = await asyncio.to_thread(agent.join, relay.organisation.join_token().text())
        agent.start()
        yield Meeting(relay, agent, DeviceId(device))
        await asyncio.to_thread(agent.kill)
    assert "Traceback" not in agent.said() and "bug" not in agent.said()
