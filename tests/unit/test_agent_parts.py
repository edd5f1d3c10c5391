"""The agent's parts end, whatever becomes of a cancellation on its way."""

from __future__ import annotations

import asyncio

import pytest

from agent.parts import end_all, keep_going, side_by_side


class Kept:
    """A journal in memory."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def record(self, event: str, **details: object) -> None:
        self.events.append((event, details))


async def test_a_part_that_swallows_its_cancellation_ends_with_the_next() -> None:
    """What a link does whose watcher fails while it is being cancelled."""
    attempts = 0

    async def fails_when_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("the line is dead")

    async def part() -> None:
        nonlocal attempts
        while True:
            attempts += 1
            if attempts > 1:
                await asyncio.Event().wait()
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(fails_when_cancelled())
                    await asyncio.Event().wait()
            except ExceptionGroup:
                continue

    task = asyncio.create_task(keep_going(part, Kept()))
    while attempts == 0:
        await asyncio.sleep(0)
    await end_all((task,))
    assert task.cancelled() and attempts == 2


class Stubborn:
    """Swallows so many cancellations, then ends."""

    def __init__(self, times: int) -> None:
        self.left = times
        self.ended = False

    async def run(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if self.left == 0:
                    self.ended = True
                    raise
                self.left -= 1


async def test_parts_side_by_side_all_end_with_the_first_that_fails() -> None:
    stubborn = Stubborn(1)

    async def fails() -> None:
        raise ConnectionError("the line is dead")

    with pytest.raises(ConnectionError):
        await side_by_side(stubborn.run, fails)
    assert stubborn.ended


async def test_parts_side_by_side_end_when_cancelled_though_one_swallows_it_and_the_agent_insists() -> None:
    stubborn, patient = Stubborn(2), Stubborn(0)
    task = asyncio.create_task(side_by_side(stubborn.run, patient.run))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await end_all((task,))
    assert task.cancelled() and stubborn.ended and patient.ended
