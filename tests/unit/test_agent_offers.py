"""Offers behind a document that is still to be looked at."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from agent import offers
from agent.offers import MAX_WAITING, Offers
from protocol.ids import parse_session_id
from protocol.link import SessionOffer
from protocol.statement import Signed


class Fetching:
    def __init__(self) -> None:
        self.done = asyncio.Event()

    @property
    def is_settled(self) -> bool:
        return self.done.is_set()

    async def settled(self, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.done.wait()


def offer(number: int) -> SessionOffer:
    session = parse_session_id("abcdefghijklmnopqrstuvwx" + "abcdefghijklmnop"[number] + "a")
    return SessionOffer(session=session, request=Signed(payload=b"", signature=b""), ticket="", leg_url="")


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[tuple[Fetching, Offers, list[SessionOffer]]]:
    fetching = Fetching()
    delivered: list[SessionOffer] = []
    desk = Offers(fetching, delivered.append)  # type: ignore[arg-type]  # that of a real fetcher which it uses
    task = asyncio.create_task(desk.run())
    try:
        yield fetching, desk, delivered
    finally:
        task.cancel()


async def test_an_offer_waits_until_what_was_announced_was_looked_at_and_none_overtakes_it() -> None:
    async with running() as (fetching, desk, delivered):
        desk.offer(offer(0))
        await asyncio.sleep(0)
        assert delivered == []
        fetching.done.set()
        desk.offer(offer(1))
        assert delivered == []
        await asyncio.sleep(0.01)
        assert delivered == [offer(0), offer(1)]
        desk.offer(offer(2))
        assert delivered[-1] == offer(2)


async def test_one_that_is_withdrawn_meanwhile_is_forgotten() -> None:
    async with running() as (fetching, desk, delivered):
        desk.offer(offer(0))
        desk.offer(offer(1))
        desk.withdraw(offer(0).session)
        fetching.done.set()
        await asyncio.sleep(0.01)
        assert delivered == [offer(1)]


async def test_a_relay_that_hands_out_nothing_delays_them_for_a_while_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "WAIT_S", 0.01)
    async with running() as (_, desk, delivered):
        desk.offer(offer(0))
        while not delivered:
            await asyncio.sleep(0.01)


async def test_those_that_wait_are_bounded_and_none_beyond_overtakes_the_document() -> None:
    async with running() as (fetching, desk, delivered):
        for _ in range(MAX_WAITING + 3):
            desk.offer(offer(0))
        assert delivered == []
        fetching.done.set()
        await asyncio.sleep(0.01)
        assert len(delivered) == MAX_WAITING
