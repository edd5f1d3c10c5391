"""The parts of the agent that run side by side: each begins anew after a bug of ours, and all of them end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from agent.session.journal import Journal

log = logging.getLogger(__name__)

AFTER_A_BUG_S = 30.0
"""Until a part that failed by a bug of ours begins anew. The others go on meanwhile: a device that is out of reach
cannot be repaired."""

CANCEL_AGAIN_S = 1.0


async def keep_going(part: Callable[[], Awaitable[None]], journal: Journal) -> None:
    """Until cancelled."""
    while True:
        try:
            await part()
        except Exception as exc:
            log.exception("a part of the agent failed by a bug of ours")
            journal.record("bug", error=f"{type(exc).__name__}: {exc}")
        await asyncio.sleep(AFTER_A_BUG_S)


async def end_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended.

    Once is not always enough: a task group of which a child fails while the group is being cancelled raises that
    failure and no cancellation, and who catches failures to try again, as a link does, has swallowed it then. Whoever
    is cancelled meanwhile still waits for them.
    """
    left, cancelled = set(tasks), False
    while left:
        for task in left:
            task.cancel()
        try:
            _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        except asyncio.CancelledError:
            left, cancelled = {task for task in left if not task.done()}, True
    if cancelled:
        raise asyncio.CancelledError


async def side_by_side(*parts: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Until cancelled, or one fails; no part is left behind then. Raises what failed first.

    A task group alone would cancel its tasks once, and wait for ever for one that has swallowed it.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part()) for part in parts]
            try:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end_all(running)
    except ExceptionGroup as group:
        raise group.exceptions[0] from group
