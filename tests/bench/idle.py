"""What a device pays while nobody is connected: memory, and CPU.

Ours is an agent that was just started and has reported; no session was opened, so no child stands by for the next one.
The peer is what the device runs for OpenSSH's way: `ssh -N -R` and the sshd that waits.
"""

from __future__ import annotations

import time

from tests.bench.openssh import Chain
from tests.bench.ours import Stock
from tests.bench.processes import Memory, cpu_s, memory, settle
from tests.bench.rows import Row, pair
from tests.bench.settings import Settings

NAME = "idle device"


def measure(ours: Stock, peer: Chain, settings: Settings) -> list[Row]:
    agent, chain = ours.device_side, peer.device_side
    settle(lambda: [*agent(), *chain()])
    held, peer_held = memory(agent()), memory(chain())
    link = memory(chain()[:1])
    before = cpu_s(agent()), cpu_s(chain())
    time.sleep(settings.idle_s)
    after = cpu_s(agent()), cpu_s(chain())
    spent = [1e6 * (after[side] - before[side]) / settings.idle_s for side in (0, 1)]
    note = f"of the peer's, `ssh -N -R` alone: RSS {_mib(link.rss):.1f}, PSS {_mib(link.pss):.1f} MiB"
    return [
        Row(f"{NAME}, RSS", "MiB", _mib(held.rss), _mib(peer_held.rss), note=note, more=_link(link)),
        Row(f"{NAME}, PSS", "MiB", _mib(held.pss), _mib(peer_held.pss)),
        pair(f"{NAME}, CPU per second", "us", spent[:1], spent[1:], seconds=settings.idle_s),
    ]


def _mib(kib: int) -> float:
    return kib / 1024


def _link(held: Memory) -> dict[str, float]:
    return {"peer_link_rss": round(_mib(held.rss), 2), "peer_link_pss": round(_mib(held.pss), 2)}
