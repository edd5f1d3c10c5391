"""Knocking again where a relay has no room at the moment."""

from __future__ import annotations

import pytest

from protocol.errors import RelayUnreachable
from transport.failures import RelayCut
from transport.patience import KNOCKS, LONGEST_S, SHORTEST_S, patiently


class Door:
    """Shut for the first `shut` who come."""

    def __init__(self, shut: int, error: Exception | None = None) -> None:
        self.knocks, self._shut = 0, shut
        self._error = error or RelayCut("cut")

    async def __call__(self) -> str:
        self.knocks += 1
        if self.knocks <= self._shut:
            raise self._error
        return "in"


def at_once(shortest: float, longest: float) -> float:
    assert (shortest, longest) == (SHORTEST_S, LONGEST_S)
    return 0.0


@pytest.mark.parametrize("shut", [0, 1, KNOCKS - 1])
async def test_who_is_turned_away_knocks_again(shut: int) -> None:
    door = Door(shut)
    assert await patiently(door, at_once) == "in"
    assert door.knocks == shut + 1


@pytest.mark.parametrize(("shut", "error"), [(1000, None), (1, RelayUnreachable("refused"))])
async def test_not_for_ever_and_not_for_another_reason(shut: int, error: Exception | None) -> None:
    door = Door(shut, error)
    with pytest.raises(RelayUnreachable):
        await patiently(door, at_once)
    assert door.knocks == (1 if error else KNOCKS)
