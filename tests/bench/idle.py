"""What a device pays while nobody is connected: memory, and CPU.

Ours is an agent that was just started and has reported; no session was opened, so no child stands by for the next one.
The peer is what the device runs for OpenSSH's way: `ssh -N -R` and the sshd that waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.bench.openssh import Chain
from tests.bench.ours import Stock
from tests.bench.processes import cpu_s, memory, settle
from tests.bench.rows import Row
from tests.bench.settings import Settings

NAME = "idle device"

Processes = Callable[[], list[int]]


def measure(ours: Stock, peer: Chain, settings: Settings) -> list[Row]:
    rows = compare(ours.device_side, peer.device_side, settings)
    link = memory(peer.device_side()[:1])
    rows[0].note = f"of the peer's, `ssh -N -R` alone: RSS {link.rss / 1024:.1f}, PSS {link.pss / 1024:.1f} MiB"
    return rows


def compare(ours: Processes, peer: Processes, settings: Settings) -> list[Row]:
    settle(lambda: [*ours(), *peer()])
    held, peer_held = memory(ours()), memory(peer())
    before = cpu_s(ours()), cpu_s(peer())
    time.sleep(settings.idle_s)
    after = cpu_s(ours()), cpu_s(peer())
    spent, peer_spent = (1e6 * (after[side] - before[side]) / settings.idle_s for side in (0, 1))
    return [
        Row(f"{NAME}, RSS", "MiB", held.rss / 1024, peer_held.rss / 1024),
        Row(f"{NAME}, PSS", "MiB", held.pss / 1024, peer_held.pss / 1024),
        Row(f"{NAME}, CPU per second", "us", spent, peer_spent, more={"seconds": settings.idle_s}),
    ]
