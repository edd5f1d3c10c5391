"""Searches take turns: an organisation that asks for much waits for itself, and nobody else does."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sqlalchemy import Connection

from protocol.ids import OrganisationId
from relay.failures import Quota
from relay.store.engine import READERS
from relay.store.turns import EACH, MAX_WAITING, TOTAL, Turns
from tests.support.store_world import A, B, fresh_store

WITHIN_S = 60.0


async def test_searches_that_do_not_end_hold_up_neither_another_organisation_nor_short_reads() -> None:
    ended, running = threading.Event(), threading.Semaphore(0)

    def endless(_: Connection) -> None:
        running.release()
        ended.wait(WITHIN_S)

    async with fresh_store() as (store, _), asyncio.TaskGroup() as tasks:
        try:
            for _ in range(3 * READERS):
                tasks.create_task(store.search(B, endless))
            for _ in range(EACH):
                assert await asyncio.to_thread(running.acquire, True, WITHIN_S)
            async with asyncio.timeout(WITHIN_S):
                assert await store.search(A, lambda c: c.exec_driver_sql("SELECT 1").scalar()) == 1
                assert await store.read(lambda c: c.exec_driver_sql("SELECT 2").scalar()) == 2
            assert not running.acquire(blocking=False)
        finally:
            ended.set()


async def test_a_search_of_each_of_many_organisations_leaves_a_thread_to_short_reads() -> None:
    ended, running = threading.Event(), threading.Semaphore(0)

    def endless(_: Connection) -> None:
        running.release()
        ended.wait(WITHIN_S)

    async with fresh_store() as (store, _), asyncio.TaskGroup() as tasks:
        try:
            for number in range(READERS):
                tasks.create_task(store.search(OrganisationId(f"{number}"), endless))
            for _ in range(TOTAL):
                assert await asyncio.to_thread(running.acquire, True, WITHIN_S)
            async with asyncio.timeout(WITHIN_S):
                assert await store.read(lambda c: c.exec_driver_sql("SELECT 2").scalar()) == 2
        finally:
            ended.set()


async def test_a_line_has_an_end_and_is_forgotten_when_it_is_empty() -> None:
    turns, may_end = Turns(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(EACH + MAX_WAITING):
            tasks.create_task(turns.run(B, may_end.wait))
        await asyncio.sleep(0)
        with pytest.raises(Quota) as quota:
            await turns.run(B, may_end.wait)
        assert quota.value.reason == "quota" and quota.value.organisation == B and quota.value.hint
        other = tasks.create_task(turns.run(A, may_end.wait))
        may_end.set()
        assert await other
    assert turns._lanes == {}
