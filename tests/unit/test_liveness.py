"""A dead link is noticed, a slow one is kept."""

from __future__ import annotations

import math

from protocol.liveness import (
    ASLEEP_S,
    LONGEST_PERIOD_S,
    NAP_S,
    PATIENCE_S,
    PERIOD_S,
    PONG_WITHIN_S,
    PROBE_WITHIN_S,
    PROBES_EVERY_S,
    SHORTEST_PERIOD_S,
    Dead,
    Liveness,
    SendPing,
)


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def low(low: float, high: float) -> float:
    return low


def high(low: float, high: float) -> float:
    return high


def alive(now: float = 0.0) -> Liveness:
    return Liveness(now, middle)


def test_pings_are_due_every_25_s_give_or_take_a_fifth() -> None:
    assert Liveness(0.0, low).next_deadline() == PERIOD_S * 0.8
    assert Liveness(0.0, high).next_deadline() == PERIOD_S * 1.2


def test_an_answered_ping_is_followed_by_the_next() -> None:
    liveness = alive()
    assert liveness.on_tick(24.9) == []
    assert liveness.on_tick(25.0) == [SendPing(1)]
    liveness.on_pong(1, 25.5)
    assert liveness.next_deadline() == 50.5
    assert liveness.on_tick(50.5) == [SendPing(2)]


def test_silence_after_a_ping_is_death_once() -> None:
    liveness = alive()
    liveness.on_tick(25.0)
    assert liveness.next_deadline() == 25.0 + PONG_WITHIN_S
    assert liveness.on_tick(44.9) == []
    assert liveness.on_tick(45.0) == [Dead("no answer to a ping for 20 s")]
    assert liveness.next_deadline() is None
    assert liveness.on_tick(99.0) == []


def test_a_busy_line_gets_patience_but_a_deaf_peer_does_not_live_for_ever() -> None:
    liveness = alive()
    liveness.on_tick(25.0)
    for now in range(26, 85):
        liveness.heard(float(now))
        assert liveness.on_tick(float(now)) == []
    assert liveness.next_deadline() == 25.0 + PATIENCE_S
    assert isinstance(liveness.on_tick(85.0)[0], Dead)


def test_an_answer_to_an_old_or_future_ping_counts_as_noise_only() -> None:
    liveness = alive()
    liveness.on_tick(25.0)
    liveness.on_pong(7, 26.0)
    liveness.on_pong(0, 26.0)
    assert liveness.next_deadline() == 26.0 + PONG_WITHIN_S
    liveness.on_pong(1, 30.0)
    liveness.on_pong(1, 31.0)
    assert liveness.next_deadline() == 55.0


def test_a_machine_that_slept_begins_anew_at_once() -> None:
    idle = alive()
    assert idle.on_tick(25.0 + ASLEEP_S + 3600) == [Dead("the machine slept or stood still for 3630 s")]
    late = alive()
    assert late.on_tick(25.0 + ASLEEP_S) == [SendPing(1)]


def test_a_relay_cannot_ask_for_an_absurd_period() -> None:
    for asked, period in [
        (0.0, SHORTEST_PERIOD_S),
        (-1.0, SHORTEST_PERIOD_S),
        (math.nan, SHORTEST_PERIOD_S),
        (math.inf, LONGEST_PERIOD_S),
    ]:
        assert Liveness(0.0, middle, period_s=asked).next_deadline() == period


def test_a_probe_asks_at_once_and_waits_less_long() -> None:
    liveness = alive()
    liveness.probe(3.0)
    assert liveness.on_tick(3.0) == [SendPing(1)]
    assert liveness.next_deadline() == 3.0 + PROBE_WITHIN_S
    liveness.heard(5.0)
    assert liveness.next_deadline() == 5.0 + PROBE_WITHIN_S, "a slow line gets as long from each sound of life"
    assert liveness.on_tick(13.0) == [Dead("no answer to a ping for 10 s")]


def test_a_probe_shortens_the_wait_for_an_answer_that_is_due_and_never_prolongs_it() -> None:
    liveness = alive()
    liveness.on_tick(25.0)
    liveness.probe(27.0)
    assert liveness.next_deadline() == 27.0 + PROBE_WITHIN_S
    liveness.probe(30.0)
    assert liveness.next_deadline() == 27.0 + PROBE_WITHIN_S
    late = alive()
    late.on_tick(25.0)
    late.probe(44.0)
    assert late.next_deadline() == 45.0


def test_an_answer_ends_the_doubt() -> None:
    liveness = alive()
    liveness.probe(3.0)
    liveness.on_tick(3.0)
    liveness.on_pong(1, 3.5)
    assert liveness.next_deadline() == 28.5
    assert liveness.on_tick(28.5) == [SendPing(2)]
    assert liveness.next_deadline() == 28.5 + PONG_WITHIN_S


def test_a_storm_of_probes_is_one_ping_every_few_seconds() -> None:
    liveness = alive()
    pings = []
    for tick in range(600):
        now = tick / 10
        liveness.probe(now)
        pings += [effect for effect in liveness.on_tick(now) if isinstance(effect, SendPing)]
        if pings:
            liveness.on_pong(pings[-1].id, now)
    assert len(pings) == 60 / PROBES_EVERY_S


def test_waking_from_a_long_sleep_is_the_end_and_from_a_nap_a_question() -> None:
    assert alive().woke(ASLEEP_S + 1, 4.0) == [Dead("the machine slept or stood still for 31 s")]
    liveness = alive()
    assert liveness.woke(NAP_S / 2, 4.0) == [] and liveness.next_deadline() == 25.0
    assert liveness.woke(NAP_S + 1, 4.0) == [] and liveness.next_deadline() == 4.0
    dead = alive()
    dead.woke(3600.0, 4.0)
    assert dead.woke(3600.0, 5.0) == [] and dead.next_deadline() is None
