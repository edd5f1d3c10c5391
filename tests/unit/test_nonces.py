"""Session nonces: good once, for a while, and only where this device issued them."""

from __future__ import annotations

import os

from agent.nonces import FRESH_S, MAX_OUTSTANDING, NONCE_LIFE_S, NoncePool
from protocol.link import NONCE_POOL


def pool() -> NoncePool:
    count = iter(range(10**6))
    return NoncePool(lambda size: next(count).to_bytes(size, "big"))


def test_a_nonce_is_good_once() -> None:
    nonces = pool()
    issued = nonces.top_up(0.0)
    assert len(set(issued)) == NONCE_POOL
    assert nonces.take(issued[0], 1.0)
    assert not nonces.take(issued[0], 1.0)
    assert not nonces.take("AAAA", 1.0)
    assert not nonces.take("", 1.0)


def test_a_used_nonce_is_replaced() -> None:
    nonces = pool()
    first = nonces.top_up(0.0)
    assert nonces.top_up(1.0) == ()
    nonces.take(first[0], 1.0)
    assert len(nonces.top_up(1.0)) == 1


def test_a_nonce_dies_of_age_and_is_replaced_before() -> None:
    nonces = pool()
    [old, *_] = nonces.top_up(0.0)
    assert nonces.next_deadline(0.0) == FRESH_S
    assert len(nonces.top_up(FRESH_S)) == NONCE_POOL
    assert nonces.knows(old, NONCE_LIFE_S)
    assert not nonces.knows(old, NONCE_LIFE_S + 0.1)
    assert not nonces.take(old, NONCE_LIFE_S + 0.1)


def test_what_a_console_holds_outlives_the_link() -> None:
    nonces = pool()
    held = nonces.top_up(0.0)[0]
    nonces.age(1.0)
    assert len(nonces.top_up(1.0)) == NONCE_POOL
    assert nonces.take(held, 2.0)


def test_links_that_come_and_go_fill_no_memory_and_leave_the_newest_pool_whole() -> None:
    nonces = pool()
    issued: tuple[str, ...] = ()
    for second in range(100):
        nonces.age(float(second))
        issued = nonces.top_up(float(second))
        assert len(issued) == NONCE_POOL
    assert len(nonces._issued) <= MAX_OUTSTANDING
    assert all(nonces.knows(nonce, 100.0) for nonce in issued)


def test_time_alone_never_makes_a_deadline_that_has_passed() -> None:
    """Once it did, after the first nonces had aged: the agent's timer went off at every turn of its loop."""
    nonces = NoncePool(os.urandom)
    nonces.top_up(0.0)
    now = 0.0
    for _ in range(50):
        deadline = nonces.next_deadline(now)
        assert deadline is not None and deadline > now
        now = deadline
        nonces.top_up(now)
    assert now > 10 * FRESH_S, "a few wake-ups a pool, not one a turn"
