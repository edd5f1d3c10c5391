"""The relay on reinstalled devices: whose word a continuation is, and who is shown what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from protocol.api import MAX_LIST_BYTES, Device, History, Published, PublishPolicy
from protocol.errors import Refused
from protocol.ids import DeviceId
from protocol.revocation import Revocations, RevokedDevice
from tests.support.organisation import TechnicianKey
from tests.support.relay_world import FakeDevice, World, relay_world
from transport.http import RelayClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with relay_world() as world:
        yield world


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def put(
    world: World, by: tuple[TechnicianKey, RelayClient], device: FakeDevice, *tags: str, **changes: Any
) -> None:
    technician, client = by
    record = world.organisation.record(device.id, *tags, by=technician, **changes)
    await client.request("PUT", f"/v1/devices/{device.id}/record", None, body=record)


async def before(client: RelayClient, device: DeviceId) -> list[DeviceId]:
    path = f"/v1/devices/{device}/history"
    answer = await client.request("GET", path, History, limit=MAX_LIST_BYTES)
    return [old.id for old in answer.devices]


async def test_a_chain_is_shown_as_far_as_it_is_in_scope_also_what_was_removed(world: World) -> None:
    admin = await world.technician("admin")
    first, second, third = [await world.device() for _ in range(3)]
    await put(world, admin, first, "school")
    await put(world, admin, second, "clinic", continues=first.id)
    await put(world, admin, third, "clinic", continues=second.id)
    assert await before(admin[1], third.id) == [second.id, first.id]
    _, clinic = await world.technician("eva", scope="tag:clinic")
    assert await before(clinic, third.id) == [second.id]
    gone = (RevokedDevice(device=second.id, since=world.organisation.now),)
    expected = world.organisation.policy_number
    policy = world.organisation.publish_policy(revocations=Revocations(devices=gone))
    path = f"/v1/organisations/{world.organisation.id}/policy"
    body = PublishPolicy(policy=policy, expected=expected)
    await world.stranger.request("POST", path, Published, body=body)
    with pytest.raises(Refused):
        await admin[1].request("GET", f"/v1/devices/{second.id}", Device)
    assert await before(admin[1], third.id) == [second.id, first.id]


async def test_who_has_no_say_over_the_old_device_cannot_continue_it(world: World) -> None:
    admin, school = await world.technician("admin"), await world.technician("eve", scope="tag:school")
    old, new = await world.device("clinic"), await world.device(suggested=("school",))
    with pytest.raises(Refused) as caught:
        await put(world, school, new, "school", continues=old.id)
    assert caught.value.reason == "out_of_scope"
    await put(world, admin, new, "school", continues=old.id)
    assert await before(school[1], new.id) == []


async def test_no_device_continues_what_continues_it(world: World) -> None:
    admin = await world.technician("admin")
    old, new = await world.device("clinic"), await world.device()
    await put(world, admin, new, "clinic", continues=old.id)
    with pytest.raises(Refused) as caught:
        await put(world, admin, old, "clinic", number=2, continues=new.id)
    assert caught.value.reason == "continues_itself"


async def test_another_organisations_history_does_not_exist(world: World) -> None:
    other = await world.second_organisation()
    device = await world.device("clinic")
    _, stranger = await other.technician()
    with pytest.raises(Refused) as caught:
        await before(stranger, device.id)
    with pytest.raises(Refused) as nothing:
        await before(stranger, DeviceId("aaaaa-bbbbb-ccccc-ddddd"))
    assert (caught.value.reason, caught.value.message) == (nothing.value.reason, nothing.value.message)
