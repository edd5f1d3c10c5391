"""What a device costs the relay: memory while it is linked, CPU when it comes.

Ours: devices with a key, a record and a stock of session nonces each, linked over TLS with full handshakes, and idle.
Their side of the links is one process, the bench's own, which is not counted. The relay is one of its own for this,
with its defaults but for the bounds of one address, since here all devices come from one.

The peer's relay is processes for each device; so it gets fewer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.api import EnrolAnswer
from protocol.ids import device_id
from protocol.signing import KeyRawSigner
from tests.bench.openssh import Chain
from tests.bench.processes import cpu_s, memory, settle, tree
from tests.bench.rows import Row, ours_at_most
from tests.bench.settings import Settings
from tests.support.organisation import SEALING_KEY, new_key
from tests.support.relay_process import RelayProcess
from tests.support.relay_world import FakeDevice, FakeLink, World, begin_world

NAME = "relay, per device"
ONE_ADDRESS = "[limits]\nrequests_per_s = 1e6\nrequest_burst = 1e6\nconnections_per_address = 1_000_000"
USES = 100
"""Of one join token."""

AT_ONCE = 8
"""Devices that enrol or link at the same time."""


def measure(peer: Chain, settings: Settings) -> list[Row]:
    ours = asyncio.run(_ours(settings.links))
    theirs = _peer(peer, settings.peer_links)
    note = f"ours with {settings.links} links, the peer's with {settings.peer_links}"
    return [
        Row(f"{NAME}: PSS", "KiB", ours[0], theirs[0], ours_at_most(48), note),
        Row(f"{NAME}: CPU to link", "ms", ours[1], theirs[1], ours_at_most(1.5)),
    ]


def _peer(chain: Chain, count: int) -> tuple[float, float]:
    chain.link()  # a first one that does not count
    settle(chain.relay)
    held, spent = memory(chain.relay()).pss, cpu_s(chain.relay())
    for _ in range(count):
        chain.link()
    settle(chain.relay)
    found = (memory(chain.relay()).pss - held) / count, 1000 * (cpu_s(chain.relay()) - spent) / count
    for _ in range(count + 1):
        chain.unlink()
    return found


async def _ours(count: int) -> tuple[float, float]:
    """KiB and milliseconds of each device."""
    async with RelayProcess(settings=ONE_ADDRESS) as relay:
        world = await begin_world(relay)
        try:
            devices = await enrol(world, count + AT_ONCE)
            async with AsyncExitStack() as links:
                await _link(links, devices[count:])  # some first ones that do not count
                await asyncio.to_thread(settle, lambda: tree([relay.pid]))
                held, spent = memory(tree([relay.pid])).pss, cpu_s(tree([relay.pid]))
                await _link(links, devices[:count])
                await asyncio.to_thread(settle, lambda: tree([relay.pid]))
                kib = (memory(tree([relay.pid])).pss - held) / count
                return kib, 1000 * (cpu_s(tree([relay.pid])) - spent) / count
        finally:
            await world.close()


async def enrol(world: World, count: int) -> list[FakeDevice]:
    """Devices with records, that have not linked yet."""
    admin, client = await world.technician("admin")
    waiting = [new_key() for _ in range(count)]
    enrolled: list[FakeDevice] = []

    async def enrol_some(keys: Sequence[Ed25519PrivateKey]) -> None:
        token = world.organisation.join_token(uses=USES)
        for key in keys:
            signed = world.organisation.enrolment(token, key)
            path = f"/v1/organisations/{world.organisation.id}/enrol"
            await world.stranger.request("POST", path, EnrolAnswer, body=signed)
            device = device_id(KeyRawSigner(key).public)
            record = world.organisation.record(device, "lab", by=admin, sealing_key=SEALING_KEY)
            await client.request("PUT", f"/v1/devices/{device}/record", None, body=record)
            enrolled.append(FakeDevice(world, key))

    async with asyncio.TaskGroup() as group:
        for begun in range(0, count, USES):
            group.create_task(enrol_some(waiting[begun : begun + USES]))
    return enrolled


async def _link(links: AsyncExitStack, devices: Sequence[FakeDevice]) -> list[FakeLink]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def link(device: FakeDevice) -> FakeLink:
        async with gate:
            return await links.enter_async_context(device.linked())

    return await asyncio.gather(*(link(device) for device in devices))
