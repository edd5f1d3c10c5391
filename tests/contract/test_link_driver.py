"""The link's driver against a real relay, with a clock that jumps as a machine's does that slept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent import link_driver
from agent.link_driver import LinkDriver
from protocol.link import VERSIONS, Challenge, Hello, Ping, ToAgent, ToRelay, Welcome
from protocol.liveness import ASLEEP_S, NAP_S, PERIOD_S, SPREAD
from protocol.policy import Relay
from protocol.system_clock import SystemClock
from tests.support.relay_world import FakeDevice, relay_world, until
from transport.relay_address import RelayAddress
from transport.ways import directly


class JumpingClock(SystemClock):
    """slept_s: as if the machine had slept so long. Timers of the loop know nothing of it, as in earnest."""

    slept_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.slept_s


class Owner:
    """Of a link that is up or down, and nothing else."""

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.ups: list[float] = []
        self.downs: list[str] = []

    def relays(self) -> tuple[Relay, ...]:
        address = self.device.world.address
        return (Relay(url=address.url, pin=address.pin),)

    def way(self, relay: Relay) -> RelayAddress:
        return directly(relay)

    def hello(self, challenge: Challenge, relay: RelayAddress) -> Hello:
        held = self.device.world.organisation.policy_number
        statement = self.device.link_statement(challenge.nonce)
        return Hello(statement=statement, version=VERSIONS[-1], agent="0.1.0", charter=1, policy=held, record=0)

    def link_up(self, welcome: Welcome, relay: RelayAddress) -> None:
        self.ups.append(time.monotonic())

    def link_message(self, message: ToAgent) -> None: ...

    is_waited_for = False

    def refused(self, reason: str, relay: RelayAddress) -> None:
        raise AssertionError(reason)

    def link_down(self, reason: str) -> None:
        self.downs.append(reason)
        task = asyncio.current_task()
        # Python 3.11.2 would take the next time-out of this task for the cancellation that is left on its account.
        assert task is not None and task.cancelling() == 0


class RecordingDriver(LinkDriver):
    def __init__(self, owner: Owner, clock: JumpingClock) -> None:
        super().__init__(owner, clock)
        self.pings = 0

    def send(self, message: ToRelay) -> None:
        self.pings += isinstance(message, Ping)
        super().send(message)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Owner, RecordingDriver, JumpingClock]]:
    async with relay_world() as world:
        owner, clock = Owner(await world.device()), JumpingClock()
        driver = RecordingDriver(owner, clock)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(driver.run())
            await until(lambda: owner.ups, "linked")
            try:
                yield owner, driver, clock
            finally:
                running.cancel()


async def test_a_machine_that_slept_asks_its_relay_at_once_and_one_that_slept_for_long_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_driver, "LOOK_S", 0.3)
    async with linked() as (owner, driver, clock):
        for slept_s in (NAP_S + 1, ASLEEP_S - 5):
            asked = driver.pings
            clock.slept_s += slept_s
            await until(lambda asked=asked: driver.pings > asked, "it asked")
            await until(lambda: driver._liveness is not None and driver._liveness._asked_at is None, "it was answered")
            assert owner.downs == []
        woke = time.monotonic()
        clock.slept_s += 3600
        await until(lambda: owner.downs, "the old link is gone")
        assert time.monotonic() - woke < PERIOD_S * (1 - SPREAD), "nobody waited for the timer of the next ping"
        assert owner.downs[0].startswith("the machine slept or stood still for 3")
        await until(lambda: len(owner.ups) == 2, "a new link")
        assert driver.machine.relay == owner.relays()[0]


async def test_a_link_that_the_relay_ends_is_made_anew() -> None:
    async with linked() as (owner, _, _):
        # Another link of the same device takes the place of ours.
        async with owner.device.linked(nonces=0):
            await until(lambda: owner.downs, "the relay hung up")
        await until(lambda: len(owner.ups) == 2, "a new link")
