"""A value cut to a step that is as coarse as the value is large, and sticky: what trembles says nothing new. Pure."""

from __future__ import annotations

PARTS = 16


def coarse(before: int | None, value: int, least_step: int) -> int:
    """`value` cut to its step; or `before`, where `value` is within that step or half a step around it."""
    if before is not None:
        step = step_of(before, least_step)
        if before - step / 2 <= value < before + step * 1.5 and (value >= least_step or before == 0):
            return before
    return value // step_of(value, least_step) * step_of(value, least_step)


def step_of(value: int, least_step: int) -> int:
    """A sixteenth of the power of two that is not above `value`, and not less than `least_step`."""
    return max(least_step, (1 << max(0, value.bit_length() - 1)) // PARTS)
