"""Ours beside MeshCentral, row by row as far as both do the same; ours is stock ssh throughout, measured in turn.

Its client here is ours, in Python, since its own is a web page; it is logged in before anything is timed. Its relay
reads everything that it forwards; ours cannot. A row's note says what else is not alike.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.bench import bulk, idle, keys, mesh_client
from tests.bench.mesh_client import Client, MeshTerminal
from tests.bench.meshcentral import NAME, MeshCentral
from tests.bench.ours import Stock
from tests.bench.payload import Payload
from tests.bench.processes import cpu_s, end, settle
from tests.bench.rows import Row, pair, percentile
from tests.bench.settings import GIB, Settings
from tests.bench.ways import NotAvailable, attempt, run, settled

OPENING = "MeshCentral's without a client's start, since its page is open already"
BULK = "ours an SSH session; MeshCentral's its TCP relay, with a client in Python"
FLEET = "not measured: every link would take an agent process of MeshCentral's"
UNMEASURED = (("PSS", "KiB"), ("CPU to link", "ms"))
COPIES = 1
"""Rounds. It takes minutes for one."""


Measure = Callable[[], list[Row]]


def measure(ours: Stock, settings: Settings) -> list[Row]:
    """Raises NotAvailable where MeshCentral is not."""
    mesh = MeshCentral.begin()
    with contextlib.closing(mesh), Client(mesh) as client:
        parts: dict[str, Measure] = {
            "idle device": lambda: _idle(ours, mesh, settings),
            "a terminal opens": lambda: _opening(ours, mesh, client, settings),
            "keystroke": lambda: _keys(ours, client, settings),
            "bulk": lambda: _bulk(ours, mesh, client, settings),
            "copy": lambda: _copies(ours, mesh, settings),
        }
        rows = [row for name, part in parts.items() for row in attempt(f"{NAME}: {name}", part)]
    return [*rows, *(_row(f"relay, per device: {what}", unit, [], [], FLEET) for what, unit in UNMEASURED)]


def _row(name: str, unit: str, ours: Sequence[float], peer: Sequence[float], note: str = "") -> Row:
    return pair(f"{NAME}: {name}", unit, ours, peer, beside=NAME, note=note)


def _idle(ours: Stock, mesh: MeshCentral, settings: Settings) -> list[Row]:
    ours.world.agent.stop()  # a new one has no child that stands by for the next session
    ours.world.agent.start()
    ours.world.agent.wait_reported()
    rows = idle.compare(ours.device_side, mesh.device_side, settings)
    return [replace(row, name=f"{NAME}: {row.name}", beside=NAME) for row in rows]


def _opening(ours: Stock, mesh: MeshCentral, client: Client, settings: Settings) -> list[Row]:
    """Until a program in a terminal on the device has said something."""
    series: tuple[list[float], list[float]] = ([], [])
    for number in range(settings.opens + 1):
        settled(ours)
        settle(lambda: [*mesh.relay(), *mesh.device_side()])
        began = time.perf_counter()
        with contextlib.closing(keys.Terminal(ours)) as terminal:
            seconds = terminal.ready_at - began
        with contextlib.closing(MeshTerminal(client)) as peer:
            if number:  # the first ones are a warm-up
                series[0].append(1000 * seconds)
                series[1].append(1000 * peer.opened_s)
    return [_row("a terminal opens", "ms", *series, OPENING)]


def _keys(ours: Stock, client: Client, settings: Settings) -> list[Row]:
    with (
        contextlib.closing(keys.Terminal(ours)) as terminal,
        contextlib.closing(MeshTerminal(client)) as peer,
    ):
        peer.warm_up()
        for count in keys.blocks(settings.keys):
            terminal.press(count)
            peer.press(count)
    rows = []
    for percent in (50, 99):
        own, theirs = ([1000 * percentile(side.seconds, percent)] for side in (terminal, peer))
        rows.append(_row(f"keystroke p{percent}", "ms", own, theirs))
    return rows


def _bulk(ours: Stock, mesh: MeshCentral, client: Client, settings: Settings) -> list[Row]:
    rows = []
    with Payload(settings.size) as payload, _tcp_end() as port:
        for direction, move, peer_move in (
            ("down", bulk.down, mesh_client.down),
            ("up", bulk.up, mesh_client.up),
        ):
            moved: list[bulk.Moved] = []
            rates: list[float] = []
            relay: list[float] = []
            for _ in range(settings.rounds):
                moved.append(move(ours, payload))
                payload.check_arrived()
                settle(mesh.relay)
                tunnel = client.run(client.port(port))
                before, began = cpu_s(mesh.relay()), time.perf_counter()
                client.run(peer_move(tunnel, payload))
                rates.append(payload.size / 1e6 / (time.perf_counter() - began))
                relay.append((cpu_s(mesh.relay()) - before) * GIB / payload.size)
                client.run(tunnel.close())
                payload.check_arrived()
            rows += [
                _row(f"bulk {direction}", "MB/s", [one.megabytes_per_s for one in moved], rates, BULK),
                _row(f"relay CPU per GiB {direction}", "s", [one.cpu_s["relay"] for one in moved], relay),
            ]
    return rows


@contextlib.contextmanager
def _tcp_end() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.tcp_end"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        end(process)


def _copies(ours: Stock, mesh: MeshCentral, settings: Settings) -> list[Row]:
    with Payload(settings.size) as payload:
        there = payload.folder / "there"
        there.mkdir()
        node = mesh.node.rpartition("/")[2]  # its tool puts the rest before it

        def peer_down() -> None:
            _control(mesh, "download", "--id", node, "--file", str(payload.source), "--target", str(payload.arrived))

        def peer_up() -> None:
            _control(mesh, "upload", "--id", node, "--file", str(payload.source), "--target", str(there))
            (there / payload.source.name).rename(payload.arrived)

        def own_down() -> None:
            run(ours, ours.download(payload.source, payload.arrived))

        def own_up() -> None:
            run(ours, ours.upload(payload.source, payload.arrived))

        rows = []
        for direction, own, peer in (("down", own_down, peer_down), ("up", own_up, peer_up)):
            rates, theirs = ([_rate(copy, payload) for _ in range(COPIES)] for copy in (own, peer))
            rows.append(_row(f"copy {direction}", "MB/s", rates, theirs, "ours scp; MeshCentral's `meshctrl`"))
    return rows


def _rate(copy: Callable[[], None], payload: Payload) -> float:
    began = time.perf_counter()
    copy()
    seconds = time.perf_counter() - began
    payload.check_arrived()
    return payload.size / 1e6 / seconds


def _control(mesh: MeshCentral, *arguments: str) -> None:
    done = subprocess.run(mesh.control(*arguments), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0 or " bytes " not in said:  # its status is 0 for a failure, too
        raise NotAvailable(f"{NAME}: meshctrl {arguments[0]}: {' '.join(said.split())[-200:]}")
