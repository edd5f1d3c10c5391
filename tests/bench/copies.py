"""How fast a file is copied, as a technician waits for it: from the start of the command to its end.

Both sides' scp and sftp are OpenSSH's own. `auxilio cp` is held against the peer's scp; it also compares hashes, which
the others leave to nobody, and writes to the disk before it says that it is done. Ours and the peer's take turns.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.bench.ours import Own, Stock
from tests.bench.payload import Payload
from tests.bench.rows import Row, pair, ratio_at_least
from tests.bench.settings import Settings
from tests.bench.ways import Way, run

NAME = "copy"


def measure(ours: Stock, own: Own, peer: Way, settings: Settings) -> list[Row]:
    rows: list[Row] = []
    aim = ratio_at_least(2.0)
    with Payload(settings.size) as payload:
        for direction in ("down", "up"):
            scp: dict[Way, list[float]] = {peer: [], ours: [], own: []}
            sftp: dict[Way, list[float]] = {peer: [], ours: []}
            for _ in range(settings.rounds):
                for way, rates in scp.items():
                    rates.append(_copy(way, _scp(way, direction, payload), payload))
                for way, rates in sftp.items():
                    rates.append(_copy(way, _sftp(way, direction, payload), payload))
            rows += [
                pair(f"{NAME} {direction}, scp", "MB/s", scp[ours], scp[peer], aim),
                pair(f"{NAME} {direction}, sftp", "MB/s", sftp[ours], sftp[peer], aim),
                pair(f"{NAME} {direction}, auxilio cp", "MB/s", scp[own], scp[peer], aim),
            ]
    return rows


def _copy(way: Way, command: Sequence[str], payload: Payload) -> float:
    """MB/s. Raises NotAvailable, WrongBytes."""
    began = time.perf_counter()
    run(way, command)
    seconds = time.perf_counter() - began
    payload.check_arrived()
    return payload.size / 1e6 / seconds


def _scp(way: Way, direction: str, payload: Payload) -> list[str]:
    copy = way.download if direction == "down" else way.upload
    return copy(payload.source, payload.arrived)


def _sftp(way: Way, direction: str, payload: Payload) -> list[str]:
    verb = "get" if direction == "down" else "put"
    batch = payload.folder / "batch"
    batch.write_text(f"{verb} {payload.source} {payload.arrived}\n")
    return way.sftp(batch)
