"""Devices that link, and come back when their relay has died: `python -m tests.bench.crowd FOLDER COUNT`.

A process of its own: what it computes for its side of the TLS handshakes is not to be in the relay's figures, and
delays nobody's keystrokes but by what it takes of the processor. Keys, signatures and TLS are real; when a device
dials again is decided by the agent's own backoff. FOLDER: of a relay that runs, and goes on at the same address.

For each line on its standard input it waits until all are linked, and prints when that was, by the monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from protocol.backoff import Backoff
from protocol.errors import AuxilioError
from protocol.link import Ping, Pong, decode_to_agent
from tests.bench.devices import enrol
from tests.support.relay_process import RelayProcess
from tests.support.relay_world import FakeDevice, FakeLink, begin_world

AT_FIRST = 16
"""Devices that link at the same time, before there is a storm."""


class Crowd:
    def __init__(self, devices: list[FakeDevice]) -> None:
        self._devices = devices
        self._gate = asyncio.Semaphore(AT_FIRST)
        self._linked = 0
        self._dials = 0
        self._nearly_at = 0.0
        self._all = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            lives = [tasks.create_task(self._live(device)) for device in self._devices]
            while await asyncio.to_thread(sys.stdin.readline):
                await self._all.wait()
                told = {"dials": self._dials, "nearly_at": self._nearly_at, "all_at": time.monotonic()}
                print(json.dumps(told), flush=True)
                self._all.clear()
                self._dials = 0
            for life in lives:
                life.cancel()

    async def _live(self, device: FakeDevice) -> None:
        backoff = Backoff()
        async with self._gate:
            link = await self._link(device, backoff)
        while True:
            if link is not None:
                await _stay(link)
                self._linked -= 1
            backoff.disconnected(time.monotonic())
            await asyncio.sleep(backoff.next_delay_s(random.uniform))
            link = await self._link(device, backoff)

    async def _link(self, device: FakeDevice, backoff: Backoff) -> FakeLink | None:
        self._dials += 1
        link: FakeLink | None = None
        try:
            link = await device.dial()
            await link.greet()
            link.send_nonces()
        except (AuxilioError, OSError, TimeoutError, AssertionError):  # the last: a goodbye instead of a welcome
            if link is not None:
                link.close()
            return None
        backoff.connected(time.monotonic())
        self._linked += 1
        if self._linked * 10 == len(self._devices) * 9:
            self._nearly_at = time.monotonic()
        if self._linked == len(self._devices):
            self._all.set()
        return link


async def _stay(link: FakeLink) -> None:
    """Answer the relay's pings until the link ends."""
    try:
        while True:
            message = decode_to_agent(await link.connection.receive())
            if isinstance(message, Ping):
                link.send(Pong(id=message.id))
    except (AuxilioError, OSError):
        link.close()


async def main(folder: Path, count: int) -> None:
    relay = RelayProcess(folder)
    relay.attach()
    world = await begin_world(relay)
    try:
        await Crowd(await enrol(world, count)).run()
    finally:
        await world.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
