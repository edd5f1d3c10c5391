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
from collections.abc import Iterator

from tests.bench.ours import Own, Stock
from tests.bench.processes import end
from tests.bench.rows import Row, percentile, ratio_at_most, significant
from tests.bench.settings import Settings
from tests.bench.ways import Way, check, cpu_of

NAME = "keystroke"
REMOTE = "stty raw -echo; echo ready; exec cat"
PAUSE_S = 0.005
BLOCKS = 20
WARM_UP = 20
KEYS = b"abcdefghijklmnopqrstuvwxyz"


class Terminal:
    """A session with `REMOTE`, open.  ready_at: when that ran, by time.perf_counter."""

    def __init__(self, way: Way) -> None:
        """Raises NotAvailable."""
        self.way = way
        self.seconds: list[float] = []
        self.cpu_s: dict[str, float] = {}
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
        self.ready_at = time.perf_counter()
        for _ in range(WARM_UP):
            self._press(b"-")
        self.seconds.clear()

    def _wait_ready(self) -> None:
        said = b""
        while b"ready" not in said:
            try:
                said += os.read(self._ours, 1024)
            except OSError:  # EIO: the client has closed its end
                assert self.client.stderr is not None
                check(self.way, self.client.wait() or 1, self.client.stderr.read())

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

    def press_counted(self, count: int) -> None:
        """And add to `cpu_s` what each part of the way took for it."""
        before = cpu_of(self.way.parts(self.client.pid))
        self.press(count)
        after = cpu_of(self.way.parts(self.client.pid))
        for part in after:
            self.cpu_s[part] = self.cpu_s.get(part, 0.0) + after[part] - before[part]

    def close(self) -> None:
        os.close(self._ours)
        end(self.client)


def blocks(count: int) -> Iterator[int]:
    """`count`, in parts."""
    for block in range(BLOCKS):
        yield count * (block + 1) // BLOCKS - count * block // BLOCKS


def measure(ours: Stock, own: Own, peer: Way, settings: Settings) -> list[Row]:
    ways = (peer, ours, own)
    terminals: list[Terminal] = []
    try:
        for way in ways:
            terminals.append(Terminal(way))
        for count in blocks(settings.keys):
            for terminal in terminals:
                terminal.press_counted(count)
    finally:
        for terminal in terminals:
            terminal.close()
    series = [[1000 * second for second in terminal.seconds] for terminal in terminals]
    spent = [{part: 1e6 * cpu_s / settings.keys for part, cpu_s in terminal.cpu_s.items()} for terminal in terminals]
    return _rows(series, spent)


def _rows(series: list[list[float]], cpu_us: list[dict[str, float]]) -> list[Row]:
    """Each in the order: peer, ours, own."""
    rows = []
    for percent, aim in ((50, ratio_at_most(0.7)), (99, ratio_at_most(1.0))):
        peer, ours, own = (percentile(one, percent) for one in series)
        rows.append(Row(f"{NAME} p{percent}", "ms", ours, peer, aim))
        rows.append(Row(f"{NAME} p{percent}, auxilio ssh", "ms", own, peer))
    peer_parts, parts = ({part: significant(us) for part, us in side.items()} for side in cpu_us[:2])
    more = {"ours_parts": parts, "peer_parts": peer_parts}
    rows.append(Row(f"{NAME}, CPU of all processes", "us", sum(cpu_us[1].values()), sum(cpu_us[0].values()), more=more))
    return rows
