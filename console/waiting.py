"""What a technician reads while the customer is asked. Pure."""

from __future__ import annotations


def waiting_line(until_at: float, now: float) -> str:
    """until_at, now: Unix seconds; the device's clock and ours may differ, so the count is never below zero."""
    left_s = max(0, round(until_at - now))
    return f"waiting for the customer's consent: {left_s} s left; no answer is a no"
