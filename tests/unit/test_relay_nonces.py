"""Nonces of logins and sessions: whose they are, how long they live, and that each is used once."""

from __future__ import annotations

import os

import pytest

from protocol.ids import OrganisationId
from relay.nonces import LOGIN_NONCE_LIFE_S, MAX_POOL, LoginNonces, NoncePool

A, B = OrganisationId("a" * 52), OrganisationId("b" * 52)


def test_a_login_nonce_is_good_for_its_organisation_and_time() -> None:
    nonces = LoginNonces(b"s" * 32)
    nonce = nonces.make(A, 1000.0, os.urandom(8))
    assert nonces.is_good(nonce, A, 1000.0)
    assert nonces.is_good(nonce, A, 1000.0 + LOGIN_NONCE_LIFE_S)
    assert not nonces.is_good(nonce, A, 1001.0 + LOGIN_NONCE_LIFE_S)
    assert not nonces.is_good(nonce, B, 1000.0)
    assert not LoginNonces(b"t" * 32).is_good(nonce, A, 1000.0)


def test_a_used_login_nonce_is_not_good_again_in_any_spelling() -> None:
    nonces = LoginNonces(b"s" * 32)
    nonce = nonces.make(A, 1000.0, os.urandom(8))
    nonces.use(nonce, 1000.0)
    assert not nonces.is_good(nonce, A, 1000.0)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for last in alphabet:
        assert not nonces.is_good(nonce[:-1] + last, A, 1000.0)
    assert not nonces.is_good(nonce + "=", A, 1000.0)


@pytest.mark.parametrize("text", ["", "x", "=" * 44, "é" * 43, "A" * 43, "A" * 10_000, "\0" * 43])
def test_anything_else_is_no_login_nonce(text: str) -> None:
    assert not LoginNonces(b"s" * 32).is_good(text, A, 0.0)


def test_used_nonces_are_forgotten_once_they_are_old_anyway() -> None:
    nonces = LoginNonces(b"s" * 32)
    for number in range(100):
        nonces.use(str(number), float(number * 10))
    assert len(nonces._used) < 25


def test_a_devices_nonce_is_handed_out_once_at_a_time_and_used_once() -> None:
    pool = NoncePool()
    pool.add(("one", "two"), 600, 0.0)
    assert pool.take(1.0) == "one"
    assert pool.take(2.0) == "two"
    assert pool.use("one", 2.0)
    assert not pool.use("one", 2.0)


def test_a_nonce_that_was_handed_out_and_not_used_does_not_dry_the_pool_up() -> None:
    pool = NoncePool()
    pool.add(("one", "two"), 600, 0.0)
    assert [pool.take(float(second)) for second in range(4)] == ["one", "two", "one", "two"]
    assert pool.use("one", 5.0) and pool.use("two", 5.0)
    assert pool.take(6.0) is None


def test_an_old_or_foreign_nonce_is_none_of_the_devices() -> None:
    pool = NoncePool()
    pool.add(("one",), 10, 0.0)
    assert not pool.use("one", 11.0)
    assert not pool.use("other", 0.0)
    pool.add(("one",), 10, 0.0)
    assert pool.take(11.0) is None


def test_a_device_cannot_fill_the_relays_memory_with_nonces() -> None:
    pool = NoncePool()
    for number in range(1_000):
        pool.add((str(number),), 1e9, 0.0)
    pool.add(("x" * 1_000_000,), 60, 0.0)
    assert len(pool) == MAX_POOL
