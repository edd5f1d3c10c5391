"""How many bytes a second go through an open session, and what they cost in CPU at each part of the way.

Random bytes, from a file in memory on one side to a file in memory on the other, by `cat` on the device. Timed: from
when the session stands until the last byte has arrived. Then both files are compared by hash, outside of the time.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.ours import Own, Stock
from tests.bench.payload import Payload
from tests.bench.processes import end
from tests.bench.rows import Row, median, pair, ratio_at_least, ratio_at_most, significant
from tests.bench.settings import GIB, Settings
from tests.bench.ways import Way, check, cpu_of, settled, start

NAME = "bulk"
SPLICE_BYTES = 1 << 20
STAY = "sleep 2"
"""While the session is asked what it cost: what has ended cannot be."""


@dataclass(frozen=True)
class Moved:
    """cpu_s: CPU seconds per GiB, by part (ways.Parts)."""

    megabytes_per_s: float
    cpu_s: dict[str, float]


def measure(ours: Stock, own: Own, peer: Way, settings: Settings) -> list[Row]:
    """All rounds down, then all up."""
    rows: list[Row] = []
    with Payload(settings.size) as payload:
        for direction, move in (("down", down), ("up", up)):
            moved: dict[Way, list[Moved]] = {peer: [], ours: [], own: []}
            for _ in range(settings.rounds):
                for way, all_moved in moved.items():
                    all_moved.append(move(way, payload))
                    payload.check_arrived()
            rows += _rows(direction, moved[ours], moved[own], moved[peer])
    return rows


def down(way: Way, payload: Payload) -> Moved:
    """From the device. Raises NotAvailable."""
    return _timed(way, f"read go; cat {payload.source}; {STAY}", payload, _drain)


def up(way: Way, payload: Payload) -> Moved:
    """To the device. Raises NotAvailable."""
    return _timed(way, f"read go; echo went; cat >{payload.arrived}; echo done; {STAY}", payload, _pour)


def _timed(way: Way, remote: str, payload: Payload, move: Callable[[subprocess.Popen[bytes], Payload], bool]) -> Moved:
    """move: does it, and says whether all went well."""
    settled(way)
    client = start(way, f"echo ready; {remote}")
    assert client.stdin is not None and client.stdout is not None and client.stderr is not None
    try:
        if client.stdout.read(len(b"ready\n")) != b"ready\n":
            check(way, client.wait() or 1, client.stderr.read())
        before = cpu_of(way.parts(client.pid))
        began = time.perf_counter()
        moved = move(client, payload)
        seconds = time.perf_counter() - began
        after = cpu_of(way.parts(client.pid))
        if not moved:
            check(way, client.wait() or 1, client.stderr.read())
    finally:
        end(client)
    cpu_s = {part: (after[part] - before[part]) * GIB / payload.size for part in after}
    return Moved(payload.size / 1e6 / seconds, cpu_s)


def _drain(client: subprocess.Popen[bytes], payload: Payload) -> bool:
    assert client.stdin is not None and client.stdout is not None
    left = payload.size
    with open(payload.arrived, "wb") as target:
        client.stdin.write(b"go\n")
        while left and (count := os.splice(client.stdout.fileno(), target.fileno(), min(left, SPLICE_BYTES))):
            left -= count
    return left == 0


def _pour(client: subprocess.Popen[bytes], payload: Payload) -> bool:
    assert client.stdin is not None and client.stdout is not None
    client.stdin.write(b"go\n")
    if client.stdout.read(len(b"went\n")) != b"went\n":
        return False
    with open(payload.source, "rb") as source:
        while os.splice(source.fileno(), client.stdin.fileno(), SPLICE_BYTES):
            pass
    client.stdin.close()
    return client.stdout.read(len(b"done\n")) == b"done\n"


def _rows(direction: str, ours: list[Moved], own: list[Moved], peer: list[Moved]) -> list[Row]:
    def rates(moved: list[Moved]) -> list[float]:
        return [one.megabytes_per_s for one in moved]

    def relay(moved: list[Moved]) -> list[float]:
        return [one.cpu_s["relay"] for one in moved]

    def whole(moved: list[Moved]) -> list[float]:
        return [sum(one.cpu_s.values()) for one in moved]

    parts: dict[str, Any] = {"ours_parts": by_part(ours), "peer_parts": by_part(peer)}
    return [
        pair(f"{NAME} {direction}", "MB/s", rates(ours), rates(peer), ratio_at_least(2.0)),
        pair(f"{NAME} {direction}, auxilio ssh", "MB/s", rates(own), rates(peer)),
        pair(f"relay CPU per GiB {direction}", "s", relay(ours), relay(peer), ratio_at_most(1.0)),
        pair(f"CPU per GiB {direction}, all processes", "s", whole(ours), whole(peer), **parts),
    ]


def by_part(moved: list[Moved]) -> dict[str, float]:
    """CPU seconds per GiB: medians of each part."""
    return {part: significant(median([one.cpu_s[part] for one in moved]) or 0.0, 3) for part in moved[0].cpu_s}
