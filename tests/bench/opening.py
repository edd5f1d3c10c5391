"""How long it takes until a command on the device has said something and has ended.

Timed: from just before the client is started until it has ended, for `echo opened`. Everything is new each time: the
client, its proxy or jump, the connections, the session; only the device's link to the relay stands already, on both
sides. Ours and the peer's take turns.

A session's child is forked from a process that has imported SSH and stays for five minutes after the last session
(docs/architecture.md); "first" is the figure without it, with an agent that was just started.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench.ours import Own, Stock
from tests.bench.processes import cpu_s, end
from tests.bench.rows import Row, pair, ratio_at_most
from tests.bench.settings import Settings
from tests.bench.ways import Way, check, cpu_of, settled, standing, start

NAME = "cold open"
SAID = b"opened\n"
FIRST_ROUNDS_AT_MOST = EXPLAINED_ROUNDS_AT_MOST = 5

STAGES = (
    ("ssh starts its proxy", r"Executing proxy command|Setting implicit ProxyCommand"),
    ("the way to the device: proxy, relay, session child", r"Remote protocol version"),
    ("key exchange, host key", r"SSH2_MSG_NEWKEYS received"),
    ("authentication", r"Authenticated to"),
)
"""What `ssh -v` says at the end of each stage. Two more follow: until the command's first byte, until ssh has ended."""


@dataclass(frozen=True)
class Opened:
    """Seconds since before the client was started.  steps: of STAGES."""

    first_byte_s: float
    ended_s: float
    steps: tuple[float, ...] = ()


def open_once(way: Way) -> Opened:
    """Raises NotAvailable."""
    settled(way)
    began = time.perf_counter()
    process = start(way, "echo opened")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.close()
    with process.stdout, process.stderr:
        said = process.stdout.read(1)
        first_byte_s = time.perf_counter() - began
        said += process.stdout.read(len(SAID))
        status = process.wait()
        ended_s = time.perf_counter() - began
        check(way, status if said == SAID else 1, process.stderr.read())
    return Opened(first_byte_s, ended_s)


def cpu_ms(way: Way) -> float:
    """CPU milliseconds that all processes of both sides and the relay took until the first byte."""
    settled(way)
    before = cpu_s(standing(way))
    process = start(way, "echo opened; read line")  # goes on, so that each process can still be asked
    assert process.stdout is not None and process.stderr is not None
    try:
        if process.stdout.read(1) != SAID[:1]:
            check(way, process.wait() or 1, process.stderr.read())
        return 1000 * (sum(cpu_of(way.parts(process.pid)).values()) - before)
    finally:
        end(process)


def measure(ours: Stock, own: Own, peer: Way, settings: Settings) -> list[Row]:
    ways: dict[Way, list[Opened]] = {peer: [], ours: [], own: []}
    if settings.opens > 1:
        for way in ways:
            open_once(way)  # a warm-up that does not count
    for _ in range(settings.opens):
        for way, opened in ways.items():
            opened.append(open_once(way))
    cpu = {way: [cpu_ms(way) for _ in range(settings.opens)] for way in (peer, ours)}
    first = _first(ours, min(settings.opens, FIRST_ROUNDS_AT_MOST))
    return [
        pair(NAME, "ms", _ended(ways[ours]), _ended(ways[peer]), ratio_at_most(1.0)),
        pair(f"{NAME}, until the first byte", "ms", _first_bytes(ways[ours]), _first_bytes(ways[peer])),
        pair(f"{NAME}, CPU of all processes", "ms", cpu[ours], cpu[peer]),
        pair(f"{NAME}, first since the agent's start", "ms", _ended(first), _ended(ways[peer])),
        pair(f"{NAME}, auxilio ssh", "ms", _ended(ways[own]), _ended(ways[peer])),
        *explain(ours, peer, min(settings.opens, EXPLAINED_ROUNDS_AT_MOST)),
    ]


def _first(ours: Stock, rounds: int) -> list[Opened]:
    """Each with an agent that was just started, and so without a process that has imported SSH."""
    opened = []
    for _ in range(rounds):
        ours.world.agent.stop()
        ours.world.agent.start()
        ours.world.agent.wait_reported()
        opened.append(open_once(ours))
    return opened


def _ended(opened: Sequence[Opened]) -> list[float]:
    return [1000 * one.ended_s for one in opened]


def _first_bytes(opened: Sequence[Opened]) -> list[float]:
    return [1000 * one.first_byte_s for one in opened]


# -- where the time goes ----------------------------------------------------------------------------------------------


def explain(ours: Stock, peer: Way, rounds: int) -> list[Row]:
    """A row for each stage, of a few more openings, with ssh -v, which says what it does when.

    More, of ours alone, lie within stages above: what starting our programs costs, before they do anything.
    """
    spent: dict[Way, list[dict[str, float]]] = {peer: [], ours: []}
    for _ in range(rounds):
        for way, stages in spent.items():
            stages.append(_stages(_open_watched(way)))
    rows = []
    for stage in spent[ours][0]:
        us, them = ([1000 * stages[stage] for stages in spent[way]] for way in (ours, peer))
        rows.append(pair(f"{NAME}: {stage}", "ms", us, them))
    for name, command in _programs(ours).items():
        seconds = [_seconds(lambda command=command: ours.world.run(command)) for _ in range(rounds)]  # type: ignore[misc]
        rows.append(pair(f"{NAME}: within these, {name}", "ms", [1000 * second for second in seconds], []))
    return rows


def _programs(ours: Stock) -> dict[str, list[str]]:
    auxilio = ours.world.auxilio
    return {
        "Python": [*auxilio()[:1], "-c", "pass"],
        "`auxilio proxy` until it would begin": auxilio("proxy", "--help"),
        "`auxilio known-host` until it would begin": auxilio("known-host", "--help"),
    }


def _open_watched(way: Way) -> Opened:
    """With the moments at which `ssh -v` said that a stage was over."""
    command = way.command("echo opened")
    began = time.perf_counter()
    process = subprocess.Popen(
        [command[0], "-v", "-o", "LogLevel=DEBUG1", *command[1:]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=dict(way.environment), bufsize=0,
    )  # fmt: skip
    assert process.stdout is not None
    at: dict[str, float] = {}
    said = pending = b""
    first_byte_s = 0.0
    while data := process.stdout.read(65536):
        now = time.perf_counter() - began
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            said += line + b"\n"
            if line.strip() == SAID.strip():
                first_byte_s = now
            for stage, pattern in STAGES:
                # The jump's own ssh says the same, earlier: the last one counts, but for the start of the proxy.
                if re.search(pattern.encode(), line) and not (stage == STAGES[0][0] and stage in at):
                    at[stage] = now
    process.stdout.close()
    check(way, process.wait() if len(at) == len(STAGES) and first_byte_s else 1, said)
    return Opened(first_byte_s, time.perf_counter() - began, steps=tuple(at[stage] for stage, _ in STAGES))


def _stages(opened: Opened) -> dict[str, float]:
    names = [*(stage for stage, _ in STAGES), "the command's first byte", "goodbye"]
    moments = [*opened.steps, opened.first_byte_s, opened.ended_s]
    return {name: after - before for name, before, after in zip(names, [0.0, *moments], moments, strict=False)}


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began
