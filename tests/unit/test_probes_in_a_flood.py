"""Probes whose answers come in a flood: they end by count, and their deadlines fire meanwhile."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from agent.connectivity.probes import duplicates, gateways, router

OWN = bytes.fromhex("020000000001")
ADDRESS = ipaddress.IPv4Address("192.0.2.4")
GATEWAY = "192.0.2.1"
PATIENCE_S = 20.0


class Flood:
    """A socket that always has one more datagram, as from a neighbour that sends faster than we read."""

    def __init__(self, datagram: Callable[[int], bytes], most: int) -> None:
        """most: after which the reader is one without end."""
        self.read, self._datagram, self._most, self._begun = 0, datagram, most, time.monotonic()

    def recv(self, size: int) -> bytes:
        self.read += 1
        assert self.read <= self._most, "read without end"
        assert time.monotonic() < self._begun + PATIENCE_S, "read past its deadline"
        return self._datagram(self.read)[:size]

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        return self.recv(size), (GATEWAY, 1900)

    def send(self, data: bytes) -> int:
        return len(data)

    def sendto(self, data: bytes, address: object) -> int:
        return len(data)

    def gettimeout(self) -> float:
        return 0.0


def answer(number: int) -> bytes:
    """An ARP reply for the address, from another machine each time."""
    mac = b"\x02\xff" + number.to_bytes(4, "big")
    return OWN + mac + b"\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02" + mac + ADDRESS.packed + OWN + bytes(4) + bytes(18)


def noise(number: int) -> bytes:
    return b"noise"


def holders(flood: Any) -> Any:
    return duplicates._holders(flood, OWN, ADDRESS)


def replies(flood: Any) -> Any:
    return router._replies(flood, GATEWAY, GATEWAY, [])


def echo(flood: Any) -> Any:
    return gateways._is_echo_there(flood, b"payload")


READERS = [holders, replies, echo]


@pytest.mark.parametrize("reader", READERS)
async def test_a_flood_is_read_to_a_bound(reader: Callable[[Any], Any]) -> None:
    flood = Flood(noise, most=1000)
    await reader(flood)
    assert 256 <= flood.read <= 512


@pytest.mark.parametrize("reader", READERS)
async def test_a_deadline_fires_in_a_flood(reader: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_FRAMES", 10**12)
    monkeypatch.setattr(duplicates, "ANSWER_S", 0.05)
    for module in (router, gateways):
        monkeypatch.setattr(module, "MAX_DATAGRAMS", 10**12)
    ticks = itertools.count()

    async def others() -> None:
        while next(ticks) >= 0:
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(others())
        try:
            async with asyncio.timeout(0.3):
                await reader(Flood(noise, most=10**12))
        except TimeoutError:
            pass
        beside.cancel()
    assert next(ticks) > 10, "the rest of the agent goes on"


async def test_who_answers_for_an_address_is_counted_to_a_bound() -> None:
    flood = Flood(answer, most=1000)
    assert len(await holders(flood)) == flood.read == duplicates.MAX_HOLDERS
