"""How long a key takes to come back: typed at a terminal here, sent back by a program on the device, read here.

The program puts its terminal in raw mode and is `cat`: each key passes through it, as through an editor or a shell.
Both sides' terminals are open at once, and their keys take turns in blocks, with a pause before each key, in which
every process on the way falls asleep: a person's keys find them so.
"""

from __future__ import annotations

import os
import pty
import subprocess
import time
import tty

from tests.bench.ours import Own, Stock
from tests.bench.processes import end
from tests.bench.rows import Row, pair, percentile, ratio_at_most
from tests.bench.settings import Settings
from tests.bench.ways import Way, check, cpu_of

NAME = "keystroke"
REMOTE = "stty raw -echo; echo ready; exec cat"
PAUSE_S = 0.005
BLOCKS = 20
WARM_UP = 20
KEYS = b"abcdefghijklmnopqrstuvwxyz"


class Terminal:
    """A session with `REMOTE`, open."""

    def __init__(self, way: Way) -> None:
        """Raises NotAvailable."""
        self.way = way
        self.seconds: list[float] = []
        self._ours, theirs = pty.openpty()
        try:
            tty.setraw(theirs)
            self.client = subprocess.Popen(
                way.command(REMOTE, terminal=True),
                stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=dict(way.environment), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(theirs)
        self._wait_ready()

    def _wait_ready(self) -> None:
        said = b""
        while b"ready" not in said:
            try:
                said += os.read(self._ours, 1024)
            except OSError:  # EIO: the client has closed its end
                assert self.client.stderr is not None
                check(self.way, self.client.wait() or 1, self.client.stderr.read())
        for _ in range(WARM_UP):
            self._press(b"-")
            self.seconds.clear()

    def press(self, count: int) -> None:
        for number in range(count):
            time.sleep(PAUSE_S)
            self._press(KEYS[number % len(KEYS) :][:1])

    def _press(self, key: bytes) -> None:
        began = time.perf_counter()
        os.write(self._ours, key)
        while key not in os.read(self._ours, 64):
            pass
        self.seconds.append(time.perf_counter() - began)

    def cpu_s(self) -> float:
        """Of every process on the way, so far."""
        return sum(cpu_of(self.way.parts(self.client.pid)).values())

    def close(self) -> None:
        os.close(self._ours)
        end(self.client)


def measure(ours: Stock, own: Own, peer: Way, settings: Settings) -> list[Row]:
    ways = (peer, ours, own)
    terminals: list[Terminal] = []
    cpu_s = [0.0] * len(ways)
    try:
        for way in ways:
            terminals.append(Terminal(way))
        for block in range(BLOCKS):
            for number, terminal in enumerate(terminals):
                before = terminal.cpu_s()
                terminal.press(settings.keys * (block + 1) // BLOCKS - settings.keys * block // BLOCKS)
                cpu_s[number] += terminal.cpu_s() - before
    finally:
        for terminal in terminals:
            terminal.close()
    series = [[1000 * second for second in terminal.seconds] for terminal in terminals]
    return _rows(series, [1e6 * spent / settings.keys for spent in cpu_s])


def _rows(series: list[list[float]], cpu_us: list[float]) -> list[Row]:
    """Each in the order: peer, ours, own."""
    rows = []
    for percent, aim in ((50, ratio_at_most(0.7)), (99, ratio_at_most(1.0))):
        peer, ours, own = (percentile(one, percent) for one in series)
        rows.append(Row(f"{NAME} p{percent}", "ms", ours, peer, aim))
        rows.append(Row(f"{NAME} p{percent}, auxilio ssh", "ms", own, peer))
    rows.append(pair(f"{NAME}, CPU of all processes", "us", cpu_us[1:2], cpu_us[:1]))
    return rows
