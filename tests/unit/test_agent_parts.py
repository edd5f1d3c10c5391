"""The agent's parts end, whatever becomes of a cancellation on its way."""

from __future__ import annotations

import asyncio

from agent.parts import end_all, keep_going


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
