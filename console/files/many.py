"""Many things at a time, and the first error as it is, not in a group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def each(items: AsyncIterable[A], work: Callable[[A], Coroutine[Any, Any, None]], at_once: int) -> None:
    """`work` on every item, `at_once` of them at a time. The first error ends the others, and is raised."""
    slots = asyncio.Semaphore(at_once)
    try:
        async with asyncio.TaskGroup() as tasks:
            async for item in items:
                await slots.acquire()
                task = tasks.create_task(work(item))
                task.add_done_callback(lambda _: slots.release())
    except BaseExceptionGroup as group:
        raise first_of(group) from None


async def in_turn(items: Iterable[A]) -> AsyncGenerator[A, None]:
    for item in items:
        yield item


async def both(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """Both results; where one fails, the other has ended before its error is raised."""

    async def get(awaitable: Awaitable[Any]) -> Any:
        return await awaitable

    try:
        async with asyncio.TaskGroup() as tasks:
            first, second = tasks.create_task(get(one)), tasks.create_task(get(other))
    except BaseExceptionGroup as group:
        raise first_of(group) from None
    return first.result(), second.result()


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
