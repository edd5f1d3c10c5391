"""SIGTERM: nothing new is begun, questions have their time, sessions go on elsewhere, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing

import aiohttp
import pytest

from protocol.api import Session, SessionNonce
from protocol.backoff import Backoff
from protocol.errors import AuxilioError, Unavailable
from protocol.ids import SessionId
from protocol.link import Goodbye, ReportSent, SessionRefused, SessionWaiting
from protocol.statement import Signed
from relay.farewell import FIRST_RETURN_S, window_s
from relay.meeting import RESTARTING
from tests.support.effort import LONG
from tests.support.relay_world import FakeDevice, FakeLink, World, relay_world, sections, until
from transport.resuming import may_go_on
from transport.websocket import Connection, ConnectionEnded, connect

LINKS = 500 if LONG else 60
NEVER_S = 600
"""A drain that a test must not have to wait for."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with relay_world() as made:
        yield made


async def drain_for(world: World, drain_s: float) -> None:
    """The same relay, which gives what is being asked so long."""
    await world.relay.stop()
    world.relay.set("server", drain_s=drain_s)
    await world.relay.start()


def tell(world: World, number: signal.Signals = signal.SIGTERM) -> None:
    world.relay.process.send_signal(number)


async def ended(world: World) -> int:
    return await asyncio.to_thread(world.relay.process.wait, 60)


async def ready(world: World) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(world.relay.admin_url + "/readyz") as answer:
        return answer.status, await answer.text()


async def is_draining(world: World) -> None:
    async def drains() -> bool:
        return (await ready(world))[0] == 503

    await until(drains, "it drains")


class OpenSession:
    """Both legs of one, joined; what either sends arrives at the other."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def __aenter__(self) -> OpenSession:
        self.device = await self.world.device("clinic")
        self.technician, self.client = await self.world.technician()
        self.link = await self.device.dial()
        await self.link.greet()
        self.link.send_nonces()
        started = await self.world.start_session(self.technician, self.client, self.device.id)
        self.id, offer = started.session, await self.link.offer()
        self.legs = [await self._leg(ticket) for ticket in (started.ticket, offer.ticket)]
        for leg in self.legs:
            assert await leg.receive() == '{"type":"spliced"}'
        return self

    async def _leg(self, ticket: str) -> Connection:
        return await connect(self.world.address, f"/v1/legs/{self.id}", bearer=ticket)

    async def ask(self) -> SessionId:
        """For another one, about which the customer is asked."""
        self.link.send_nonces()
        started = await self.world.start_session(self.technician, self.client, self.device.id)
        await self.link.offer()
        self.link.send(SessionWaiting(session=started.session, until_at=2_000_000_000, wait_s=NEVER_S))
        return started.session

    async def hung_up(self) -> None:
        """Both legs, in the way that says: come again."""
        for leg in self.legs:
            with pytest.raises(ConnectionEnded) as closed:
                await leg.receive()
            assert closed.value.close_code == RESTARTING and may_go_on(RESTARTING)

    async def passes(self, data: bytes) -> None:
        self.legs[0].send_binary(data)
        assert await self.legs[1].receive() == data

    async def __aexit__(self, *_: object) -> None:
        for connection in (*self.legs, self.link):
            connection.close()


async def test_a_question_is_waited_for_sessions_stand_meanwhile_and_nothing_new_is_begun(world: World) -> None:
    await drain_for(world, NEVER_S)
    other = await world.device("clinic")
    async with OpenSession(world) as session:
        asked = await session.ask()
        tell(world)
        await is_draining(world)
        assert "relay_restarting" in (await ready(world))[1]
        await session.passes(b"still here")
        with pytest.raises(Unavailable) as refused:
            await session.client.request("POST", f"/v1/devices/{session.device.id}/sessions/nonce", SessionNonce)
        assert refused.value.reason == "relay_restarting"
        newcomer = await other.dial()
        goodbye = await newcomer.goodbye()
        assert goodbye.reason == "relay_restarting" and 1 < goodbye.return_after_s <= NEVER_S + 10
        # Its link stands: a report is still acknowledged, and so will be there afterwards.
        assert (await session.link.send_report(1, sections())).number == 1
        await session.passes(b"to the end")
        session.link.send(SessionRefused(session=asked, code="consent_denied", message="no"))
        assert (await session.link.goodbye()).reason == "relay_restarting"
        await session.hung_up()
        assert await ended(world) == 0
    assert '"event":"requests_left"' not in world.relay.log
    await world.relay.start()
    with closing(sqlite3.connect(world.relay.database)) as database:
        rows = database.execute("SELECT state, reason FROM sessions ORDER BY state").fetchall()
        assert rows == [("ended", "lost"), ("refused", "consent_denied")]
        assert database.execute("SELECT count(*) FROM reports").fetchone() == (1,)


async def test_a_question_that_nobody_answers_is_given_up_when_its_time_is_over(world: World) -> None:
    await drain_for(world, 0.5)
    async with OpenSession(world) as session:
        asked = await session.ask()
        tell(world)
        await session.hung_up()
        assert (await session.link.goodbye()).reason == "relay_restarting"
        assert await ended(world) == 0
    assert '"event":"requests_left"' in world.relay.log
    await world.relay.start()
    _, client = await world.technician()
    shown = await client.request("GET", f"/v1/sessions/{asked}", Session)
    assert (shown.state, shown.reason) == ("ended", "relay_restarting")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(world: World, first: signal.Signals) -> None:
    await drain_for(world, NEVER_S)
    async with OpenSession(world) as session:
        await session.ask()
        await session.link.send_report(1, sections())
        tell(world, first)
        await is_draining(world)
        tell(world)
        assert await ended(world) == -signal.SIGTERM
    await world.relay.start()
    async with session.device.linked() as link:
        assert link.welcome is not None and link.welcome.report == 1, "what was acknowledged is committed"


# -- a fleet ----------------------------------------------------------------------------------------------------------


class Member:
    """A device that reports all the time, keeps what was not acknowledged, and obeys as agents do."""

    def __init__(self, device: FakeDevice, seed: int) -> None:
        self.device = device
        self.luck = random.Random(seed)
        self.sections = sections("fleet")
        self.kept: Signed | None = None  # what was not acknowledged
        self.made = 0
        self.acknowledged = 0
        self.told: list[Goodbye] = []
        self.backoff = Backoff()

    async def live(self) -> None:
        while True:
            return_after_s = None
            link: FakeLink | None = None
            try:
                link = await self.device.dial()
                await self._report(link)
            except AuxilioError:
                for goodbye in () if link is None else link.heard:
                    if isinstance(goodbye, Goodbye):
                        self.told.append(goodbye)
                        return_after_s = goodbye.return_after_s
            self.backoff.disconnected(time.monotonic())
            await asyncio.sleep(self.backoff.next_delay_s(self.luck.uniform, return_after_s=return_after_s))

    async def _report(self, link: FakeLink) -> None:
        welcome = await link.greet()
        self.backoff.connected(time.monotonic())
        assert self.acknowledged <= welcome.report <= self.made, "the relay forgot what it had acknowledged"
        while True:
            if self.kept is None:
                self.made += 1
                self.kept = self.device.report(self.made, self.sections)
            self.acknowledged = (await link.deliver(self.kept, self.sections)).number
            self.kept = None
            await asyncio.sleep(self.luck.uniform(1.0, 4.0))


async def test_a_fleet_comes_back_spread_out_and_nothing_is_lost(world: World) -> None:
    members = [Member(await world.device(), seed) for seed in range(LINKS)]
    async with asyncio.TaskGroup() as tasks:
        lives = [tasks.create_task(member.live()) for member in members]
        await until(lambda: all(member.acknowledged for member in members), "everybody has reported")
        began = len(world.relay.log)
        assert await world.relay.stop() == 0
        await world.relay.start()
        before = [member.acknowledged for member in members]
        await until(
            lambda: all(now.acknowledged > then for now, then in zip(members, before, strict=True)),
            "everybody is back and has reported",
        )
        for life in lives:
            life.cancel()
    assert '"event":"links_left"' not in world.relay.log[began:]
    told = sorted(member.told[0].return_after_s for member in members)
    assert len(told) == LINKS and all(member.told[0].reason == "relay_restarting" for member in members)
    window = window_s(LINKS)
    assert told[0] >= FIRST_RETURN_S and told[-1] <= FIRST_RETURN_S + window
    for quarter in range(4):
        low, high = (FIRST_RETURN_S + window * edge / 4 for edge in (quarter, quarter + 1))
        assert 0.2 * LINKS < sum(low <= time < high for time in told) < 0.3 * LINKS
    with closing(sqlite3.connect(world.relay.database)) as database:
        rows = database.execute("SELECT device, max(number), count(*) FROM reports GROUP BY device").fetchall()
    kept = {device: (last, count) for device, last, count in rows}
    for member in members:
        last, count = kept[member.device.id]
        assert member.acknowledged <= last <= member.made and count == last, "each report once, none left out"


async def test_a_report_that_was_under_way_is_acknowledged_or_sent_again(world: World) -> None:
    """Sent without waiting, right before the end: whatever was acknowledged is there."""
    device = await world.device()
    link = await device.dial()
    await link.greet()
    await link.send_report(1, sections())
    for number in range(2, 42):
        link.send(ReportSent(report=device.report(number, sections())))
    tell(world)
    goodbye = await link.goodbye()
    assert goodbye.reason == "relay_restarting" and await ended(world) == 0
    numbers = [message.number for message in link.heard if hasattr(message, "number")]
    await world.relay.start()
    async with device.linked() as again:
        assert again.welcome is not None and again.welcome.report >= max(numbers, default=1)
