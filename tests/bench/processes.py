"""Processes, as Linux's /proc tells of them: whole trees, since a peer of ours is several (proc(5))."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
WITHIN_S = 120.0
"""Generous: nothing here is a measurement, and the machine may be busy."""


@dataclass(frozen=True)
class _Stat:
    parent: int
    own_ticks: int
    ended_ticks: int  # of children that have ended and were waited for


def _stat(pid: int) -> _Stat | None:
    """None: it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    words = text.rpartition(") ")[2].split()
    # From state on: ppid is the second; utime, stime, cutime, cstime the 12th to the 15th.
    utime, stime, cutime, cstime = (int(word) for word in words[11:15])
    return _Stat(int(words[1]), utime + stime, cutime + cstime)


def descendants(*roots: int) -> list[int]:
    """Every process below `roots`, without them."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").glob("[0-9]*"):
        if (stat := _stat(int(entry.name))) is not None:
            children[stat.parent].append(int(entry.name))
    found, seen = list(roots), set(roots)
    for pid in found:
        new = [child for child in children[pid] if child not in seen]
        seen.update(new)
        found.extend(new)
    return found[len(roots) :]


def tree(roots: Iterable[int]) -> list[int]:
    """`roots`, and every process below them."""
    found = list(roots)
    return [*found, *descendants(*found)]


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, that `pids` and children of theirs that have ended took so far."""
    return sum(_cpu_s(pid) for pid in pids)


def _cpu_s(pid: int) -> float:
    """The scheduler counts nanoseconds of threads that live; stat cuts off to ticks, which is much for an sshd."""
    stat = _stat(pid)
    if stat is None:
        return 0.0
    threads_s = 0.0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            threads_s += int(path.read_text().split()[0]) / 1e9
    return max(stat.own_ticks * TICK_S, threads_s) + stat.ended_ticks * TICK_S


@dataclass(frozen=True)
class Memory:
    """KiB. pss: each page shared out among those who share it, so that it may be added up over processes."""

    rss: int
    pss: int


def memory(pids: Iterable[int]) -> Memory:
    rss = pss = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("Rss", "Pss"):
                kib = int(value.split()[0])
                rss, pss = rss + kib * (name == "Rss"), pss + kib * (name == "Pss")
    return Memory(rss, pss)


def peak_kib(pid: int) -> int:
    """The most that was ever resident."""
    found = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(found.split()[1])


def free_port() -> int:
    """A port of loopback that nobody listens at now: for programs that cannot be told to choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def settle(pids: Callable[[], Iterable[int]], quiet_s: float = 0.5) -> None:
    """Wait until `pids` do next to nothing: what was begun before a measurement is not to be in it."""
    deadline = time.monotonic() + WITHIN_S
    before = cpu_s(pids())
    while time.monotonic() < deadline:
        time.sleep(quiet_s)
        now = cpu_s(pids())
        if now - before <= quiet_s * 0.05:
            return
        before = now
