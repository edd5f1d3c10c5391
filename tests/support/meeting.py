"""A real agent that joined at a relay in the tester's hands, and a technician whose requests pass through that relay.

async with meeting_in(folder) as meeting:
    link = await meeting.link()                      # welcomed
    await meeting.accept(link, policy)               # announced, fetched, and what the device then says that it holds
    offer = await meeting.ask(link)                  # a genuine request; `link.send(offer)` makes it reach the device
    async with meeting.session(link) as client:      # asyncssh over two legs that the relay joined
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh

from protocol.codec import Record
from protocol.ids import DeviceId
from protocol.link import (
    Documents,
    Held,
    Nonces,
    Ping,
    Pong,
    SessionAccepted,
    SessionClose,
    SessionEnded,
    SessionOffer,
    SessionRefused,
    SessionWaiting,
)
from protocol.signing import private_key_pem
from protocol.statement import Signed
from tests.support.agent_process import AgentProcess
from tests.support.false_relay import FalseLink, FalseRelay
from tests.support.organisation import UNATTENDED, TechnicianKey
from tests.support.splice import add_legs
from transport.leg import open_leg


class Meeting:
    """technician: whoever asks."""

    def __init__(self, relay: FalseRelay, agent: AgentProcess, device: DeviceId) -> None:
        self.relay, self.agent, self.device = relay, agent, device
        self.technician: TechnicianKey = relay.organisation.technician()
        self.current: FalseLink  # the link that was welcomed last
        self.held = relay.organisation.policy_number  # as the device last said

    # -- the agent ----------------------------------------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        return await asyncio.to_thread(self.agent.status)

    async def until(self, condition: Any, what: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.agent.wait_status, condition, what)

    async def journal(self, event: str) -> list[dict[str, Any]]:
        return await asyncio.to_thread(self.agent.journal, event)

    async def restart(self, **welcome: Any) -> FalseLink:
        """Kill the agent, start it again, and return its link."""
        await asyncio.to_thread(self.agent.kill)
        self.agent.start()
        return await self.link(**welcome)

    async def link(self, **welcome: Any) -> FalseLink:
        self.current = link = await self.relay.next_link()
        await link.welcome(**welcome)
        return link

    async def is_well(self, link: FalseLink) -> None:
        """The link still carries a question and its answer."""
        await link.send(Ping(id=4711))
        while (await link.next(Pong)).id != 4711:
            pass

    # -- what the relay hands out -------------------------------------------------------------------------------------

    async def accept(self, link: FalseLink, *policies: Signed, charters: tuple[Signed, ...] = ()) -> Held:
        """Announce documents, and return what the device says that it holds when it has looked at them."""
        names = tuple(self.relay.offer_blob(signed) for signed in charters)
        policy = self.relay.offer_blob(policies[-1]) if policies else None
        await link.send(Documents(charters=names, policy=policy))
        held = await link.next(Held)
        self.held = held.policy
        return held

    async def approve(self, link: FalseLink, *tags: str) -> None:
        sealing_key = self.relay.sealing_keys[self.device]
        record = self.relay.organisation.record(self.device, *(tags or ("lab",)), sealing_key=sealing_key)
        await link.send(Documents(record=self.relay.offer_blob(record)))
        while (await link.next(Held)).record != 1:
            pass

    async def ask(self, link: FalseLink, /, by: TechnicianKey | None = None, **changes: Any) -> SessionOffer:
        """A genuine request of a genuine technician, with a nonce of the device's, which is approved."""
        if (await self.status())["provisional"]:
            await self.approve(link)
        issued = [message for message in link.heard if isinstance(message, Nonces)] or [await link.next(Nonces)]
        nonce = next(n for message in issued for n in message.nonces if n not in link.used)
        link.used.add(nonce)
        session, signed = self.relay.organisation.session_request(by or self.technician, self.device, nonce, **changes)
        return SessionOffer(session=session, request=signed, ticket="t" * 43, leg_url=self.relay.address.url)

    async def outcome(self, /, by: TechnicianKey | None = None, **changes: Any) -> str:
        """What becomes of a genuine request on the current link: accepted, waiting (somebody is asked), or the code of
        its refusal."""
        link = self.current
        offer = await self.ask(link, by, **changes)
        await link.send(offer)
        while True:
            message = await link.next(Record)
            if isinstance(message, SessionAccepted):
                await link.send(SessionClose(session=offer.session, reason="closed"))
                await link.next(SessionEnded)
                return "accepted"
            if isinstance(message, SessionWaiting):
                return "waiting"
            if isinstance(message, SessionRefused):
                return message.code

    @contextlib.asynccontextmanager
    async def session(
        self, link: FalseLink, /, by: TechnicianKey | None = None, **changes: Any
    ) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """A session that the device let in; needs `legs`."""
        by = by or self.technician
        offer = await self.ask(link, by, **changes)
        await link.send(offer)
        assert (await link.next(SessionAccepted)).session == offer.session
        leg = await open_leg(self.relay.address, offer.session, "console")
        key = (self.agent.state / "device_key").read_bytes()
        known = asyncssh.import_private_key(key).convert_to_public()
        client = await asyncssh.connect(
            "device",
            tunnel=leg,
            username=changes.get("account", "admin"),
            client_keys=[asyncssh.import_private_key(private_key_pem(by.key))],
            known_hosts=([known], [], []),
            config=None,
            agent_path=None,
        )
        try:
            yield client
        finally:
            client.close()
            await client.wait_closed()


@contextlib.asynccontextmanager
async def meeting_in(folder: Path, *, legs: bool = False, **policy: Any) -> AsyncIterator[Meeting]:
    """legs: the relay joins legs, as protocol/leg.py says.  policy: fields of the first one; unattended by default."""
    agent = AgentProcess(folder / "agent")
    false_relay = FalseRelay(**{"consent": UNATTENDED, **policy})
    if legs:
        add_legs(false_relay)
    async with false_relay as relay:
        device = await asyncio.to_thread(agent.join, relay.organisation.join_token().text())
        agent.start()
        try:
            yield Meeting(relay, agent, DeviceId(device))
        finally:
            await asyncio.to_thread(agent.kill)
    assert "Traceback" not in agent.said() and "bug" not in agent.said(), agent.said()[-3000:]
