"""What is made of the bytes that came from the relay."""

from __future__ import annotations

from agent.connectivity.probes.throughput import rate


def test_the_line_s_pace_and_when_it_was_not_the_line_that_was_measured() -> None:
    full = rate(1_000_000, 8.0, request_s=0.9, latency_ms=50.0)
    assert (full.down_mbps, full.is_least) == (1.0, False)
    waiting = rate(4_000_000, 1.0, request_s=0.6, latency_ms=300.0)
    assert (waiting.down_mbps, waiting.is_least) == (32.0, True)
    assert rate(40_000_000, 1.0, request_s=0.01, latency_ms=0.1).is_least, "as fast as this machine"
