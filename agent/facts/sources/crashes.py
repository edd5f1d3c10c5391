"""Sources on crashes that left something behind: programs' memory, the kernel's last words, starts without shutdown."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agent.facts.parsers.event_tally import EventTally
from agent.facts.parsers.kernel_log import Seen, core_name
from agent.facts.parsers.utmp import RECORD_BYTES, Starts, parse_starts
from agent.facts.source import LINUX, Source
from protocol.sections.events import Event
from protocol.system_clock import SystemClock

CORES = (Path("/var/lib/systemd/coredump"), Path("/var/crash"), Path("/var/lib/apport/coredump"))
DUMPS = (Path("/sys/fs/pstore"), Path("/var/lib/systemd/pstore"))
WTMP = Path("/var/log/wtmp")
MAX_FILES = 2000
MAX_WTMP_BYTES = 4 * 1024 * 1024
"""The end of it: ten thousand logins."""

DAYS_30_S = 30 * 86_400


class Dumps(msgspec.Struct, frozen=True):
    count: int
    last_at: int | None


def _cores() -> tuple[Event, ...]:
    """By names and times of the files alone: what is in them is somebody's memory."""
    tally = EventTally()
    for folder in CORES:
        if not folder.exists():
            continue
        with os.scandir(folder) as entries:
            for entry, _ in zip(entries, range(MAX_FILES), strict=False):
                if program := core_name(os.fsencode(entry.name).decode("utf-8", "replace")):
                    tally.add(Seen("crash", program), entry.stat(follow_symlinks=False).st_mtime)
    return tally.events()


def _dumps() -> Dumps:
    """What the kernel wrote into the firmware's memory as it died, and what systemd has moved from there: each part
    of one is a file."""
    times: list[float] = []
    for folder in DUMPS:
        if folder.exists():
            files = [path for path in sorted(folder.rglob("dmesg-*"))[:MAX_FILES] if path.is_file()]
            times += [path.stat().st_mtime for path in files]
    incidents = {int(at) // 60 for at in times}
    return Dumps(len(incidents), int(max(times)) if times else None)


def _starts() -> Starts:
    size = os.path.getsize(WTMP)
    with open(WTMP, "rb") as file:
        file.seek(max(0, (size - MAX_WTMP_BYTES) // RECORD_BYTES * RECORD_BYTES))
        data = file.read(MAX_WTMP_BYTES)
    return parse_starts(data, SystemClock().now() - DAYS_30_S)


CORE_FILES = Source(name="core_files", ask=_cores, platforms=LINUX)
KERNEL_DUMPS = Source(name="pstore", ask=_dumps, platforms=LINUX)
STARTS = Source(name="wtmp", ask=_starts, platforms=LINUX)
