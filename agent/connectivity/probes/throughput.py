"""How much comes through from the relay: only when somebody asks for it, since it costs data.

What is fetched is the relay's public document, again and again over a few kept connections, so that no relay needs a
way for strangers to draw on its line. The price: a connection waits for its answer before it asks again, so on a fast
line with a long way the waiting is measured, not the line. Then the figure is the least that it carries, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from agent.connectivity.probes.relay import LARGE
from protocol.errors import AuxilioError
from protocol.system_clock import Clock
from transport.failures import network_errors
from transport.http import MAX_CONNECTIONS, RelayClient
from transport.relay_address import RelayAddress

WITHIN_S = 8.0
"""Long enough for TCP to find its pace on a slow line."""

MAX_BYTES = 4 * 1024 * 1024
"""What it may cost somebody whose plan is counted. A line of 4 Mbit/s is done with it in the time there is."""

MAX_ANSWER_BYTES = 256 * 1024
MAX_REQUESTS = 200
"""A third of what a relay lets an address ask at once."""

WAITING_RTTS = 3
"""A request that is answered within so many times the way's latency waited more than it received."""

FAST_MBPS = 100.0
"""From here on small answers over few connections tell of this machine and the relay, not of the line."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """down_mbps: megabits a second.  is_least: the line may carry more."""

    down_mbps: float
    is_least: bool


class _Tally:
    def __init__(self) -> None:
        self.requests = 0
        self.received = 0
        self.finished = 0
        self.spent_s = 0.0


async def measure_throughput(
    address: RelayAddress, latency_ms: float, clock: Clock, *, within_s: float = WITHIN_S
) -> Throughput | None:
    """latency_ms: of the way while nothing else was on it.  None where nothing came.

    Never raises for what the network does.
    """
    tally = _Tally()
    async with RelayClient(address) as client:
        first = _Tally()
        with contextlib.suppress(AuxilioError, TimeoutError):  # the handshakes are not the line's pace
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(_fetch(client, first, clock) for _ in range(MAX_CONNECTIONS)))
        begun = clock.monotonic()
        with contextlib.suppress(AuxilioError, TimeoutError):
            async with asyncio.timeout(within_s):
                await asyncio.gather(*(_keep_fetching(client, tally, clock) for _ in range(MAX_CONNECTIONS)))
        elapsed_s = clock.monotonic() - begun
    if not tally.received or elapsed_s <= 0:
        return None
    request_s = tally.spent_s / tally.finished if tally.finished else elapsed_s
    return rate(tally.received, elapsed_s, request_s=request_s, latency_ms=latency_ms)


def rate(received: int, elapsed_s: float, *, request_s: float, latency_ms: float) -> Throughput:
    """received: bytes.  request_s: how long one took, on average. Pure."""
    mbps = received * 8 / elapsed_s / 1_000_000
    is_waiting = request_s < WAITING_RTTS * latency_ms / 1000
    return Throughput(down_mbps=round(mbps, 2), is_least=is_waiting or mbps >= FAST_MBPS)


async def _keep_fetching(client: RelayClient, tally: _Tally, clock: Clock) -> None:
    while tally.received < MAX_BYTES and tally.requests < MAX_REQUESTS:
        await _fetch(client, tally, clock)


async def _fetch(client: RelayClient, tally: _Tally, clock: Clock) -> None:
    """Counted as it comes: what the deadline cuts off has come all the same."""
    tally.requests += 1
    begun = clock.monotonic()
    with network_errors(client.address):
        async with client.exchange("GET", LARGE) as answer:
            taken = 0
            async for chunk in answer.chunks():
                taken += len(chunk)
                tally.received += len(chunk)
                if taken > MAX_ANSWER_BYTES:
                    break
            tally.finished += 1
            tally.spent_s += clock.monotonic() - begun
