"""When a leg that lost its connection is dialled again, how long, and when one that says nothing counts as lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from agent.session import child_server
from console.ssh_config import Include, render
from protocol.errors import Refused, Unavailable
from relay.meeting import LOST, NORMAL, REFUSED, RESTARTING, WITHDRAWN
from transport.resuming import (
    ASK_EVERY,
    DEAD_AFTER,
    DOUBTED_AFTER,
    LONGEST_ATTEMPT_S,
    LONGEST_PAUSE_S,
    RESUME_FOR_S,
    Lost,
    Resuming,
    Silence,
    attempt_within_s,
    may_go_on,
    pause_s,
)


def test_a_connection_goes_on_where_it_was_lost_and_not_where_somebody_ended_it() -> None:
    assert [may_go_on(code) for code in (LOST, RESTARTING, 1006, 1001)] == [True] * 4
    assert not any(may_go_on(code) for code in (NORMAL, REFUSED, WITHDRAWN, 1002, 1009))


def test_one_that_says_nothing_is_asked_and_then_dead() -> None:
    silence = Silence()
    said = [silence.look(False) for _ in range(DEAD_AFTER)]
    assert said.index("ask") == ASK_EVERY - 1 and said.count("ask") == 3
    assert said[-1] == "dead" and "dead" not in said[:-1]


def test_any_word_is_a_sign_of_life() -> None:
    silence = Silence()
    for _ in range(5):
        assert [silence.look(False) for _ in range(DEAD_AFTER - 1)].count("dead") == 0
        assert silence.look(True) == "fine"


def test_one_that_was_doubted_is_waited_for_less_long_until_it_is_heard() -> None:
    silence = Silence()
    silence.doubt()
    assert [silence.look(False) for _ in range(DOUBTED_AFTER)][-1] == "dead"
    silence = Silence()
    silence.doubt()
    assert silence.look(True) == "fine"
    assert "dead" not in [silence.look(False) for _ in range(DEAD_AFTER - 1)]


def test_attempts_are_spread_and_never_far_apart() -> None:
    luck = random.Random(1)
    pauses = [pause_s(attempt, luck.uniform) for attempt in range(1000)]
    assert all(0 <= pause <= LONGEST_PAUSE_S for pause in pauses)
    assert max(pauses[:2]) <= 0.2 and len({round(pause, 3) for pause in pauses}) > 500


async def test_what_may_help_later_is_tried_again_and_a_refusal_is_the_end() -> None:
    tried: list[Exception] = [Unavailable("offline"), TimeoutError(), Unavailable("offline"), Refused("over")]

    async def dial() -> None:
        raise tried.pop(0)

    with pytest.raises(Refused, match="over"):
        await Resuming(dial=dial).redial()  # type: ignore[arg-type]  # it never returns
    assert tried == []


async def test_an_attempt_that_hangs_is_given_up_and_patience_ends_with_a_reason() -> None:
    async def dial() -> None:
        await asyncio.sleep(3600)

    with pytest.raises(Lost, match=r"did not come back within 0 s: no answer"):
        await Resuming(dial=dial, for_s=0.3, attempt_s=0.05).redial()  # type: ignore[arg-type]  # it never returns


def test_nothing_above_the_stream_loses_patience_before_it() -> None:
    assert child_server.KEEPALIVE_S * child_server.KEEPALIVE_MISSED > RESUME_FOR_S
    config = render(Include(command=["auxilio"], key="/k", account="admin"))
    assert "ServerAliveInterval 0\n" in config


def test_each_attempt_has_longer_and_none_half_an_hour() -> None:
    times = [attempt_within_s(5.0, attempt) for attempt in range(20)]
    assert times[0] == 5.0 and times == sorted(times) and times[-1] == LONGEST_ATTEMPT_S
    assert attempt_within_s(60.0, 9) == 60.0
