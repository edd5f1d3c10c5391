"""From a state directory to an agent that runs, and to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.identity import settle
from agent.platform import this_machine
from agent.reporting import CHEAP_S
from agent.sampling import SAMPLE_S
from agent.state import StateDir
from agent.supervisor import Agent
from protocol.system_clock import Clock
from transport.resuming import RESUME_FOR_S


def run_agent(
    path: Path,
    clock: Clock,
    *,
    look_s: float = CHEAP_S,
    sample_s: float = SAMPLE_S,
    resume_for_s: float = RESUME_FOR_S,
    token: str | None = None,
) -> bool:
    """Run the agent whose state is at `path`; return whether it left its organisation. Raises AuxilioError.

    look_s, sample_s, resume_for_s: as Agent takes them.
    token: joined with first, where the device has not joined yet, however long no relay can be reached.

    A directory that came from another machine is put aside first; with a token that is kept here the device joins.
    """
    state = StateDir(path, make=token is not None)
    state.lock()  # held until this process ends
    settle(state, this_machine(), clock)
    if token is not None and state.read("membership.json") is None:
        from agent.joining import keep_token

        keep_token(state, token, clock)

    async def main() -> bool:
        joined = None
        if state.read("membership.json") is None:
            from agent.joining import join_by_itself

            joined = await join_by_itself(state, clock)
        agent = Agent(state, clock, look_s=look_s, sample_s=sample_s, resume_for_s=resume_for_s)
        if joined is not None:
            agent.journal.record("joined", device=joined.device)
        await agent.run()
        return agent.left

    left = asyncio.run(main())
    if left:
        from agent.joining import leave

        leave(state)
    return left
