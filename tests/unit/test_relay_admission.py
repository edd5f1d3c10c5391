"""Strangers at the relay: how much they may ask for, and that counting them costs bounded memory."""

from __future__ import annotations

import pytest

from relay.admission import Buckets, Crowd, address_key


def test_a_burst_is_admitted_and_then_the_refill() -> None:
    buckets = Buckets(per_s=2.0, burst=5.0)
    assert [buckets.take("a", 0.0) for _ in range(5)] == [0.0] * 5
    assert buckets.take("a", 0.0) == pytest.approx(0.5)
    assert buckets.take("a", 0.5) == 0.0
    assert buckets.take("b", 0.0) == 0.0


def test_a_failure_may_cost_more_than_there_is_and_is_paid_later() -> None:
    buckets = Buckets(per_s=1.0, burst=2.0)
    assert buckets.take("a", 0.0, cost=10.0) == 0.0
    assert buckets.take("a", 5.0) > 0.0
    assert buckets.take("a", 20.0) == 0.0


def test_a_clock_that_jumps_back_refills_nothing() -> None:
    buckets = Buckets(per_s=1.0, burst=1.0)
    buckets.take("a", 100.0)
    assert buckets.take("a", 0.0) > 0.0


def test_a_million_addresses_cost_a_bounded_table() -> None:
    buckets = Buckets(limit=100)
    for number in range(1_000):
        buckets.take(str(number), 0.0)
    assert len(buckets) == 100


def test_asking_how_long_to_wait_takes_nothing() -> None:
    buckets = Buckets(per_s=1.0, burst=1.0)
    for _ in range(10):
        assert buckets.wait_s("a", 0.0) == 0.0
    assert len(buckets) == 0


def test_a_crowd_is_bounded_in_all_and_per_key_and_forgets_who_left() -> None:
    crowd = Crowd(total=3, per_key=2)
    assert crowd.enter("a") and crowd.enter("a")
    assert not crowd.enter("a")
    assert crowd.enter("b")
    assert not crowd.enter("c")
    crowd.leave("a")
    assert crowd.enter("c")
    crowd.leave("nobody")
    assert len(crowd) == 3


def test_a_trusted_proxy_is_many_people_but_not_more_than_all() -> None:
    crowd = Crowd(total=3, per_key=1)
    assert [crowd.enter("proxy", exempt=True) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
        ("/run/socket", "/run/socket"),
    ],
)
def test_addresses_are_counted_by_who_has_them(address: str, key: str) -> None:
    assert address_key(address) == key
