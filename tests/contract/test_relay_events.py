"""The stream of events: what happens is told at once, to whom it concerns, and picked up again after a cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest
import pytest_asyncio

from protocol.api import Event, Published, PublishPolicy
from protocol.codec import decode
from protocol.errors import RelayUnreachable
from protocol.link import SessionRefused
from protocol.revocation import Revocations, RevokedKeyId
from tests.support.relay_world import World, relay_world, sections
from transport.events import ServerEvent, events
from transport.http import RelayClient

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world():
    async with relay_world() as world:
        yield world


class Heard:
    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self.ended = asyncio.Event()
        self._more = asyncio.Event()

    def put(self, event: ServerEvent) -> None:
        decoded = decode(event.data, Event)
        assert decoded.kind == event.event
        self.events.append((event.id, decoded))
        self._more.set()

    async def first(self, kind: str, device: str | None = None) -> Event:
        async with asyncio.timeout(60):
            while True:
                for _, event in self.events:
                    if event.kind == kind and (device is None or event.device == device):
                        return event
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def listening(client: RelayClient, last_id: str = "") -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        try:
            async with aclosing(events(client, "/v1/events", last_id=last_id)) as stream:
                async for event in stream:
                    heard.put(event)
        except RelayUnreachable:
            heard.ended.set()

    task = asyncio.ensure_future(listen())
    # The relay registers a listener before it answers; a request after it is served later.
    await asyncio.sleep(0)
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_day_of_a_device_is_told(world: World) -> None:
    technician, client = await world.technician()
    async with listening(client) as heard:
        # Enrolments until one is heard: from then on the stream surely stands.
        device = await world.device("clinic")
        async with asyncio.timeout(60):
            while not heard.events:
                device = await world.device("clinic")
                await asyncio.sleep(0.1)
        async with device.linked() as link:
            await heard.first("device_online", device.id)
            await link.send_report(1, sections())
            assert (await heard.first("report", device.id)).detail == "1"
            started = await world.start_session(technician, client, device.id)
            await link.offer()
            link.send(SessionRefused(session=started.session, code="nobody_present", message="nobody is there"))
            await heard.first("session_changed", device.id)
            await world.approve(device.id, "kiosk", number=2)
            await heard.first("record_changed", device.id)
        await heard.first("device_offline", device.id)
        details = [e.detail for _, e in heard.events if e.session == started.session]
        assert details == ["offered", "refused: nobody_present"]
        last_id = heard.events[0][0]
        count = len(heard.events)
    async with listening(client, last_id) as again, asyncio.timeout(60):
        while len(again.events) < count - 1:
            await asyncio.sleep(0.02)
        assert [id_ for id_, _ in again.events][: count - 1] == [id_ for id_, _ in heard.events][1:]


async def test_a_technician_hears_of_devices_in_their_scope_alone(world: World) -> None:
    clinic, kiosk = await world.device("clinic"), await world.device("kiosk")
    _, client = await world.technician("kim", scope="tag:kiosk", may="shell")
    async with listening(client) as heard, asyncio.timeout(60):
        while not any(event.device == kiosk.id for _, event in heard.events):
            async with clinic.linked(), kiosk.linked():
                await asyncio.sleep(0.1)
        assert {event.device for _, event in heard.events} == {kiosk.id}


async def test_another_organisation_hears_nothing_and_a_revoked_listener_is_put_out(world: World) -> None:
    mine = await world.second_organisation()
    _, client = await mine.technician("mal")
    async with listening(client) as heard:
        # A policy that changes nothing for mal, until it is heard: the stream stands.
        path = f"/v1/organisations/{mine.organisation.id}/policy"

        async def publish(**changes) -> None:
            expected = mine.organisation.policy_number
            body = PublishPolicy(policy=mine.organisation.publish_policy(**changes), expected=expected)
            await mine.stranger.request("POST", path, Published, body=body)

        async with asyncio.timeout(60):
            while not heard.events:
                await publish()
                await asyncio.sleep(0.1)
            foreign = await world.device("clinic")
            async with foreign.linked():
                await publish(revocations=Revocations(key_ids=(RevokedKeyId(key_id="mal"),)))
                await heard.ended.wait()
        assert {event.organisation for _, event in heard.events} == {mine.organisation.id}
        assert not any(event.device == foreign.id for _, event in heard.events)
    await mine.close()


async def test_a_stopping_relay_ends_the_streams_and_does_not_wait_for_them() -> None:
    async with relay_world() as other:
        _, client = await other.technician()
        async with listening(client) as heard:
            async with asyncio.timeout(60):
                while not heard.events:
                    await other.device()
                    await asyncio.sleep(0.1)
            assert await other.relay.stop() == 0
            async with asyncio.timeout(60):
                await heard.ended.wait()
        await other.relay.start()
